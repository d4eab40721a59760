//! What supervisor and worker say to each other: datagrams over a socket pair, with a descriptor where a FIFO is handed
//! over. The worker has its end as standard input, so no descriptor has to be left open over `exec`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// One message. A FIFO is called by the name of its file, which is also that of its entry in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Supervisor: read this FIFO, whose reading end comes along; or, without one, tell that it is gone.
    Attach(String),
    /// Supervisor: dockerd writes no more to it.
    Stopped(String),
    /// Worker: its end was reached, and all of it is committed.
    Done(String),
    /// Worker: it goes on.
    Alive,
}

/// The longest message, in bytes.
const LENGTH_MAX: usize = 512;

impl Message {
    fn text(&self) -> String {
        match self {
            Message::Attach(name) => format!("attach {name}"),
            Message::Stopped(name) => format!("stopped {name}"),
            Message::Done(name) => format!("done {name}"),
            Message::Alive => "alive ".to_owned(),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Message> {
        let (word, name) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        let name = name.to_owned();
        Some(match word {
            "attach" => Message::Attach(name),
            "stopped" => Message::Stopped(name),
            "done" => Message::Done(name),
            "alive" => Message::Alive,
            _ => return None,
        })
    }
}

/// Two ends that do not wait.
///
/// # Errors
/// When there are no descriptors left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends a message whole.
///
/// # Errors
/// `WouldBlock` where the other end has not read for a while; anything else where it is gone.
pub fn send(end: impl AsFd, message: &Message, descriptor: Option<&OwnedFd>) -> io::Result<()> {
    let text = message.text();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = descriptor.map(AsFd::as_fd);
    if let Some(rights) = &rights {
        // There is room for one.
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(rights)));
    }
    sendmsg(end, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next message. `None`: the other end is gone.
///
/// # Errors
/// `WouldBlock` where none has come; `InvalidData` for what is no message.
pub fn receive(end: impl AsFd) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
    let mut bytes = [0; LENGTH_MAX];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        match recvmsg(end, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Ok(None);
    }
    let message = Message::parse(&bytes[..received.bytes]).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((message, rights)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn messages_arrive_with_their_descriptors() {
        let (here, there) = pair().expect("sockets");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let writer = OwnedFd::from(writer);
        let name = "f".repeat(64);
        let sent = [
            Message::Attach(name.clone()),
            Message::Stopped(name.clone()),
            Message::Done(name),
            Message::Alive,
        ];
        for message in &sent {
            let attached = matches!(message, Message::Attach(_)).then_some(&writer);
            send(&here, message, attached).expect("there is room");
        }
        drop((here, writer));
        let mut rights = None;
        for message in sent {
            let (found, with) = receive(&there).expect("it was sent").expect("it is not the end");
            assert_eq!(found, message);
            rights = rights.or(with);
        }
        assert!(receive(&there).expect("an end").is_none());
        let mut writer = std::fs::File::from(rights.expect("a descriptor"));
        writer.write_all(b"x").expect("it is the pipe's");
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("a pipe");
        assert_eq!(text, "x");
    }

    #[test]
    fn nothing_and_nonsense() {
        let (here, there) = pair().expect("sockets");
        assert_eq!(receive(&there).expect_err("nothing came").kind(), io::ErrorKind::WouldBlock);
        rustix::io::write(&here, b"rumour x").expect("there is room");
        assert_eq!(receive(&there).expect_err("nonsense").kind(), io::ErrorKind::InvalidData);
    }
}
