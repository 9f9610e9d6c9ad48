//! Memory for the texts of a vocabulary, which are a few bytes each, hundreds of thousands of them, and go all at
//! once. `collect_texts` puts those that are made within it one behind the other, where the heap would take 32 bytes
//! and more for each, and touch a new page for every hundred.
//!
//! One range of addresses is cut in chunks of a huge page. Chunks count their texts, and one whose texts are all gone
//! gives its memory back. Nothing else is kept there: only texts have an alignment of 1, so no pointer lies in a chunk.
//!
//! ```text
//! FREE ── open ──> OPEN + EMPTY, less 1 for each text freed ── close: less OPEN, plus 1 for each text made ──┐
//!   ^                                                                                                        v
//!   └── whoever comes to EMPTY gives the memory back ───────────────────── EMPTY + texts that are left, which only fall
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

const CHUNK_BYTES: usize = 2 << 20;
/// Twenty times what a large vocabulary needs. What finds no chunk comes from the heap.
const NUM_CHUNKS: usize = 128;
const REGION_BYTES: usize = NUM_CHUNKS * CHUNK_BYTES;
const MAX_TEXT_BYTES: usize = 256;
/// Tables from this size on are advised for huge pages, since they are read at random.
const LARGE_TABLE_BYTES: usize = 2 * CHUNK_BYTES;

const FREE: u32 = 0;
const EMPTY: u32 = 1;
const OPEN: u32 = 1 << 31;

static REGION: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static CHUNKS: [AtomicU32; NUM_CHUNKS] = [const { AtomicU32::new(FREE) }; NUM_CHUNKS];

/// Where a thread puts its next text.
struct Cursor {
    collects: Cell<bool>,
    chunk: Cell<Option<usize>>,
    used: Cell<usize>,
    num_texts: Cell<u32>,
}

thread_local! {
    static CURSOR: Cursor = const {
        Cursor { collects: Cell::new(false), chunk: Cell::new(None), used: Cell::new(0), num_texts: Cell::new(0) }
    };
}

/// Small texts that `body` makes on this thread lie close together. They may live on, and be freed anywhere.
pub fn collect_texts<T>(body: impl FnOnce() -> T) -> T {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            CURSOR.with(|cursor| {
                cursor.collects.set(false);
                cursor.close();
            });
        }
    }
    CURSOR.with(|cursor| cursor.collects.set(true));
    let _end = End;
    body()
}

impl Cursor {
    fn take(&self, num_bytes: usize) -> Option<*mut u8> {
        if !self.collects.get() {
            return None;
        }
        if self.chunk.get().is_none() || self.used.get() + num_bytes > CHUNK_BYTES {
            self.close();
            self.chunk.set(open_chunk());
            self.used.set(0);
        }
        let Some(chunk) = self.chunk.get() else {
            self.collects.set(false);
            return None;
        };
        let text = REGION.load(Ordering::Relaxed).wrapping_add(chunk * CHUNK_BYTES + self.used.get());
        self.used.set(self.used.get() + num_bytes);
        self.num_texts.set(self.num_texts.get() + 1);
        Some(text)
    }

    fn close(&self) {
        if let Some(chunk) = self.chunk.take() {
            let less = OPEN - self.num_texts.take();
            if CHUNKS[chunk].fetch_sub(less, Ordering::AcqRel) - less == EMPTY {
                give_back(chunk);
            }
        }
    }
}

fn open_chunk() -> Option<usize> {
    if REGION.load(Ordering::Acquire).is_null() && !reserve_region() {
        return None;
    }
    let open = |state: &AtomicU32| {
        state.compare_exchange(FREE, OPEN + EMPTY, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    CHUNKS.iter().position(open)
}

/// False where the system refuses.
fn reserve_region() -> bool {
    let room = REGION_BYTES + CHUNK_BYTES;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let mapping = unsafe { libc::mmap(null_mut(), room, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        return false;
    }
    let start = mapping.cast::<u8>();
    let region = start.wrapping_add(start.align_offset(CHUNK_BYTES));
    unsafe { libc::madvise(region.cast(), REGION_BYTES, libc::MADV_HUGEPAGE) };
    let kept = REGION.compare_exchange(null_mut(), region, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if !kept {
        unsafe { libc::munmap(mapping, room) };
    }
    true
}

fn give_back(chunk: usize) {
    let start = REGION.load(Ordering::Relaxed).wrapping_add(chunk * CHUNK_BYTES);
    unsafe { libc::madvise(start.cast(), CHUNK_BYTES, libc::MADV_DONTNEED) };
    CHUNKS[chunk].store(FREE, Ordering::Release);
}

/// The chunk that a text lies in, if it is not of the heap.
fn chunk_of(text: *mut u8) -> Option<usize> {
    let region = REGION.load(Ordering::Relaxed);
    let offset = text.addr().wrapping_sub(region.addr());
    (!region.is_null() && offset < REGION_BYTES).then_some(offset / CHUNK_BYTES)
}

fn free_text(chunk: usize) {
    if CHUNKS[chunk].fetch_sub(1, Ordering::AcqRel) == EMPTY + 1 {
        give_back(chunk);
    }
}

fn is_text(layout: Layout) -> bool {
    layout.align() == 1 && layout.size() <= MAX_TEXT_BYTES
}

struct TextAwareHeap;

#[global_allocator]
static HEAP: TextAwareHeap = TextAwareHeap;

unsafe impl GlobalAlloc for TextAwareHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_text(layout) {
            if let Some(text) = CURSOR.with(|cursor| cursor.take(layout.size())) {
                return text;
            }
        }
        let block = unsafe { System.alloc(layout) };
        if layout.size() >= LARGE_TABLE_BYTES && !block.is_null() {
            advise_huge_pages(block, layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match chunk_of(block) {
            Some(chunk) => free_text(chunk),
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(chunk) = chunk_of(block) else {
            return unsafe { System.realloc(block, layout, new_size) };
        };
        if new_size <= layout.size() {
            return block;
        }
        // The caller promises that the new size fits the alignment.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !moved.is_null() {
            unsafe { moved.copy_from_nonoverlapping(block, layout.size()) };
            free_text(chunk);
        }
        moved
    }
}

/// For the huge pages that lie in a block as a whole.
fn advise_huge_pages(block: *mut u8, num_bytes: usize) {
    let before = block.align_offset(CHUNK_BYTES);
    let num_pages = (num_bytes - before) / CHUNK_BYTES;
    unsafe { libc::madvise(block.wrapping_add(before).cast(), num_pages * CHUNK_BYTES, libc::MADV_HUGEPAGE) };
}
