//! A file system with one file, `app.log`, that lives in this process (FUSE) and may tell a stale size, as network file
//! systems do. Needs `/dev/fuse` and the right to mount.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen,
    Request,
};

/// The name of the file.
pub(crate) const NAME: &str = "app.log";
const FILE: INodeNo = INodeNo(2);
/// Nothing is kept by the kernel: each question is asked.
const TTL: Duration = Duration::ZERO;

/// The mounted file system; unmounted when dropped.
pub(crate) struct Remote {
    file: Arc<Mutex<File>>,
    folder: PathBuf,
    _session: BackgroundSession,
}

#[derive(Debug, Default)]
struct File {
    content: Vec<u8>,
    /// Counts changes, as the time of the last one.
    changes: u64,
    /// The size that the next answers give in place of the true one, and how many of them.
    stale: Option<(u64, usize)>,
}

impl Remote {
    /// Mounts it on `folder`.
    ///
    /// # Errors
    /// Where that is not possible or not allowed.
    pub(crate) fn mount(folder: &Path) -> io::Result<Remote> {
        let file = Arc::<Mutex<File>>::default();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("squall-test".to_owned()), MountOption::RO];
        let session = fuser::spawn_mount(Share(Arc::clone(&file)), folder, &config)?;
        Ok(Remote { file, folder: folder.to_owned(), _session: session })
    }

    /// Where it is mounted.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody far away writes.
    pub(crate) fn append(&self, text: &str) {
        let mut file = self.lock();
        file.content.extend_from_slice(text.as_bytes());
        file.changes += 1;
    }

    /// Somebody far away empties the file and writes anew.
    pub(crate) fn replace(&self, text: &str) {
        let mut file = self.lock();
        file.content = text.as_bytes().to_vec();
        file.changes += 1;
    }

    /// The next `answers` tell this size.
    pub(crate) fn tell_stale(&self, size: u64, answers: usize) {
        self.lock().stale = Some((size, answers));
    }

    /// Whether all stale answers were given.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lock().stale.is_none()
    }
}

/// What the kernel asks.
struct Share(Arc<Mutex<File>>);

impl Share {
    fn lock(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let mut file = self.lock();
        let is_file = inode == FILE;
        let mut size = file.content.len() as u64;
        if let (true, Some((stale, left))) = (is_file, file.stale) {
            size = stale;
            file.stale = (left > 1).then_some((stale, left - 1));
        }
        let modified: SystemTime = UNIX_EPOCH + Duration::from_secs(1_770_336_600 + file.changes);
        FileAttr {
            ino: inode,
            size: if is_file { size } else { 0 },
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: modified,
            ctime: modified,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o644 } else { 0o755 },
            nlink: if is_file { 1 } else { 2 },
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for Share {
    fn lookup(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&TTL, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Each read comes here, whatever size the kernel believes in.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let file = self.lock();
        let start =
            usize::try_from(offset).map_or(file.content.len(), |offset| offset.min(file.content.len()));
        let end = file.content.len().min(start + size as usize);
        reply.data(&file.content[start..end]);
    }

    fn readdir(&self, _: &Request, _inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = [
            (INodeNo::ROOT, FileType::Directory, "."),
            (INodeNo::ROOT, FileType::Directory, ".."),
            (FILE, FileType::RegularFile, NAME),
        ];
        for (index, (inode, kind, name)) in entries.into_iter().enumerate().skip(offset as usize) {
            if reply.add(inode, index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
