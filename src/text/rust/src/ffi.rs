//! What crosses the C border: borrowed input, owned output, status codes. The C++ side is src/text/rust_abi.h.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Borrowed bytes of the caller.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PgStr {
    pub data: *const u8,
    pub len: usize,
}

impl PgStr {
    /// # Safety
    /// `data` points to `len` readable bytes that outlive the use of the result.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }

    /// # Safety
    /// As `bytes`.
    pub unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Failure> {
        std::str::from_utf8(unsafe { self.bytes() }).map_err(|error| {
            Failure::invalid(format!("{what} is not UTF-8 (damaged at byte {})", error.valid_up_to()))
        })
    }
}

/// A borrowed array of the caller.
///
/// # Safety
/// `data` points to `len` readable elements that outlive the use of the result.
pub unsafe fn slice_of<'a, T>(data: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    unsafe { std::slice::from_raw_parts(data, len) }
}

/// Bytes that the caller owns until it gives them to pg_buf_free.
#[repr(C)]
pub struct PgBuf {
    pub data: *mut u8,
    pub len: usize,
    pub cap: usize,
}

impl PgBuf {
    fn set(&mut self, text: Vec<u8>) {
        let mut text = std::mem::ManuallyDrop::new(text);
        *self = PgBuf { data: text.as_mut_ptr(), len: text.len(), cap: text.capacity() };
    }
}

/// Token ids that the caller owns until it gives them to pg_ids_free.
#[repr(C)]
pub struct PgIds {
    pub data: *mut u32,
    pub len: usize,
    pub cap: usize,
}

impl PgIds {
    pub fn set(&mut self, ids: Vec<u32>) {
        let mut ids = std::mem::ManuallyDrop::new(ids);
        *self = PgIds { data: ids.as_mut_ptr(), len: ids.len(), cap: ids.capacity() };
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_buf_free(buf: PgBuf) {
    if buf.cap > 0 {
        drop(unsafe { Vec::from_raw_parts(buf.data, buf.len, buf.cap) });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_ids_free(ids: PgIds) {
    if ids.cap > 0 {
        drop(unsafe { Vec::from_raw_parts(ids.data, ids.len, ids.cap) });
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub enum PgStatus {
    Ok = 0,
    InvalidArgument = 1,
    Panic = 2,
    Corrupt = 3,
    Unsupported = 4,
    Internal = 5,
}

#[derive(Debug)]
pub struct Failure {
    pub status: PgStatus,
    pub message: String,
}

impl Failure {
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure { status: PgStatus::InvalidArgument, message: message.into() }
    }
    pub fn corrupt(message: impl Into<String>) -> Self {
        Failure { status: PgStatus::Corrupt, message: message.into() }
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Failure { status: PgStatus::Internal, message: message.into() }
    }
    pub fn unsupported(message: impl Into<String>) -> Self {
        Failure { status: PgStatus::Unsupported, message: message.into() }
    }
}

/// Runs the body of an entry point: no panic and no error leaves it but as a status and a text in `error`.
pub fn guard(error: &mut PgBuf, body: impl FnOnce() -> Result<(), Failure>) -> PgStatus {
    silence_panics();
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return PgStatus::Ok,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure { status: PgStatus::Panic, message: panic_text(payload.as_ref()) },
    };
    error.set(failure.message.into_bytes());
    failure.status
}

/// Hands a text to the caller.
pub fn give_text(out: &mut PgBuf, text: String) {
    out.set(text.into_bytes());
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "panic without a message".to_owned())
}

/// The default hook would write a backtrace to stderr; the caller gets the message instead.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}
