//! The C library's allocator, told to give back what is large.
#![allow(unsafe_code, reason = "the allocator is told through a function of C")]

/// Buffers of so many bytes are mappings of their own, which are gone when they are freed.
///
/// glibc begins with this, too, but takes the size of each such buffer that is freed for its new threshold, up to 32 MiB;
/// after the first epoch of 1 MiB they all lie in the heap, between what stays. While a broker stood still that was 51.0 MB
/// at most, and 45.4 MB with the threshold as it is here; the CPU time of 150,000 mixed lines and of 400,000 of a storm was
/// the same within what runs differ by.
pub fn give_back_large() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets two numbers of the allocator, and no thread but this one is there yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

#[cfg(target_env = "gnu")]
const LARGE: std::ffi::c_int = 128 << 10;
