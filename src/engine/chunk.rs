//! What goes into the engine: bytes as they were read, where they came from, and where they stood there.

/// One logical source of bytes: a followed file with all its rotated generations, or a pipe. Handed out by
/// [`Engine::open`](super::Engine::open).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginId(pub u32);

/// A piece of an origin's bytes, cut anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Whose bytes these are.
    pub origin: OriginId,
    /// Where the first byte stands in its file or pipe, in bytes from the start.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}
