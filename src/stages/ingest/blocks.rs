//! Files as blocks of whole lines, read one after the other and worked on side by side.
//!
//! What is made of the blocks is used in their order, so that nothing depends on the number of threads.

use std::io;

use super::lines::{MAX_LINE, content_of};
use super::source::{Source, unreadable};
use crate::stages::side_by_side::in_order;
use crate::stages::{InputFile, StageError};

/// How many bytes a block has at most, but for a line that goes on: more than the longest line.
const BLOCK: usize = MAX_LINE + (1 << 18);

/// The longest line with its end (CR LF) that is taken for an event.
pub const MAX_LINE_WITH_END: usize = MAX_LINE + 2;

/// How many blocks are under way for each thread, those included that wait to be worked on or to be used.
const BLOCKS_A_THREAD: usize = 4;

/// Some lines of one file.
#[derive(Debug)]
pub struct Block {
    /// The file's place in the list of files.
    pub file: u32,
    /// Where the block begins in it, or in what is in it if it is compressed.
    pub offset: u64,
    /// How many bytes of the file were used for it.
    pub used: u64,
    /// Whole lines, of which the last of a file may have no end. None where a line that is too long goes on.
    pub bytes: Vec<u8>,
    /// Whether it is but the beginning of a line that is too long to be read; the rest of that line is skipped.
    pub is_too_long: bool,
}

/// One line of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which of the block's lines, from 0.
    pub number: u64,
    /// Where it begins in the block.
    pub offset: usize,
    /// Without its end; nothing if it is too long to be taken for an event.
    pub content: Option<&'a [u8]>,
}

impl Block {
    /// Its lines, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut number = 0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let offset = self.bytes.len() - rest.len();
            // What is left of a line that is too long is one line, wherever it was cut off.
            let end = memchr::memchr(b'\n', rest).filter(|_| !self.is_too_long);
            let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            let is_too_long = self.is_too_long || line.len() > MAX_LINE_WITH_END;
            let found = Line {
                number,
                offset,
                content: (!is_too_long).then(|| content_of(line)),
            };
            (rest, number) = (after, number + 1);
            Some(found)
        })
    }
}

/// A file that was read to its end.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// The file's place in the list of files.
    pub file: u32,
    /// The BLAKE3 of its bytes.
    pub hash: blake3::Hash,
    /// Whether what is in it is other than its bytes.
    pub is_compressed: bool,
}

/// Reads files block by block.
pub struct Blocks<'a> {
    files: &'a [InputFile],
    next: u32,
    open: Option<Open>,
    whole: Vec<Whole>,
    /// Room of blocks that nobody needs any more.
    spare: Vec<Vec<u8>>,
}

struct Open {
    file: u32,
    source: Source,
    /// Where `rest` begins in what is in the file.
    offset: u64,
    /// How many bytes of the file were used for the blocks so far.
    used: u64,
    /// What was read after the last line's end.
    rest: Vec<u8>,
    /// Whether a line that is too long goes on with `rest`.
    is_inside: bool,
    is_at_end: bool,
}

impl<'a> Blocks<'a> {
    /// Reads `files` one after the other.
    #[must_use]
    pub fn new(files: &'a [InputFile]) -> Self {
        Self {
            files,
            next: 0,
            open: None,
            whole: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Reads `source`, which is open already and is called what the one file of `files` is called.
    #[must_use]
    pub fn of_open(files: &'a [InputFile], source: Source) -> Self {
        Self {
            files,
            next: 1,
            open: Some(Open::new(0, source)),
            whole: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// The next block, or `None` at the end of the last file.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if a file cannot be opened or read; [`StageError::InputChanged`] at its end if it has other bytes than
    /// the stage's action says.
    pub fn next_block(&mut self) -> Result<Option<Block>, StageError> {
        loop {
            let Some(current) = &mut self.open else {
                let Some(file) = self.files.get(self.next as usize) else {
                    return Ok(None);
                };
                let source = Source::open(file).map_err(|source| unreadable(file, source))?;
                self.open = Some(Open::new(self.next, source));
                self.next += 1;
                continue;
            };
            let file = &self.files[current.file as usize];
            let room = self.spare.pop().unwrap_or_default();
            if let Some(block) = current.next_block(room).map_err(|source| unreadable(file, source))? {
                return Ok(Some(block));
            }
            let hash = current.source.hash();
            file.check_read(hash.into())?;
            self.whole.push(Whole {
                file: current.file,
                hash,
                is_compressed: current.source.is_compressed(),
            });
            self.open = None;
        }
    }

    /// Takes a block back, in whose place another may be read: memory that was used before costs less than new.
    fn take_back(&mut self, block: Block) {
        self.spare.push(block.bytes);
    }

    /// The files that were read to their ends, in order.
    #[must_use]
    pub fn into_whole(self) -> Vec<Whole> {
        self.whole
    }
}

impl Open {
    fn new(file: u32, source: Source) -> Self {
        Self {
            file,
            source,
            offset: 0,
            used: 0,
            rest: Vec::new(),
            is_inside: false,
            is_at_end: false,
        }
    }

    /// The next block, in the room of `bytes`, whatever these were.
    fn next_block(&mut self, mut bytes: Vec<u8>) -> io::Result<Option<Block>> {
        bytes.clear();
        bytes.append(&mut self.rest);
        self.fill(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if std::mem::take(&mut self.is_inside) {
            // Nothing of it is kept. A block that is empty tells how far it is with a line without end.
            match memchr::memchr(b'\n', &bytes) {
                Some(end) => self.keep(&mut bytes, end + 1),
                None => self.is_inside = !self.is_at_end,
            }
            return Ok(Some(self.block(Vec::new(), bytes.len())));
        }
        if self.is_at_end {
            let length = bytes.len();
            return Ok(Some(self.block(bytes, length)));
        }
        let Some(end) = memchr::memrchr(b'\n', &bytes) else {
            self.is_inside = true;
            self.keep(&mut bytes, MAX_LINE_WITH_END);
            return Ok(Some(Block {
                is_too_long: true,
                ..self.block(bytes, MAX_LINE_WITH_END)
            }));
        };
        self.keep(&mut bytes, end + 1);
        Ok(Some(self.block(bytes, end + 1)))
    }

    /// Leaves what stands in `bytes` from `end` on to the next block.
    fn keep(&mut self, bytes: &mut Vec<u8>, end: usize) {
        self.rest.extend_from_slice(&bytes[end..]);
        bytes.truncate(end);
    }

    /// A block that begins where the last one ended, `length` bytes long, of which it has `bytes`.
    fn block(&mut self, bytes: Vec<u8>, length: usize) -> Block {
        let (offset, used) = (self.offset, self.used);
        self.offset += length as u64;
        self.used = self.source.used();
        Block {
            file: self.file,
            offset,
            used: self.used - used,
            bytes,
            is_too_long: false,
        }
    }

    /// Reads until there are as many bytes as a block has, or no more.
    fn fill(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let wanted = BLOCK.saturating_sub(bytes.len());
        self.is_at_end = self.source.read_more(bytes, wanted)? < wanted;
        Ok(())
    }
}

/// Gives each block of `files` to `work`, on `threads` threads beside this one if there is more than one, and what comes of it to
/// `consume`, in order and on this thread. Gives the hashes of the files.
///
/// # Errors
///
/// Whatever reading and `consume` give.
pub fn each_block<R: Send>(
    files: &[InputFile],
    threads: usize,
    work: impl Fn(&Block) -> R + Sync,
    consume: impl FnMut(&Block, R) -> Result<(), StageError>,
) -> Result<Vec<Whole>, StageError> {
    each_of(Blocks::new(files), threads, work, consume)
}

/// The same for the blocks of whatever `blocks` reads.
///
/// # Errors
///
/// Whatever reading and `consume` give.
pub fn each_of<R: Send>(
    mut blocks: Blocks<'_>,
    threads: usize,
    work: impl Fn(&Block) -> R + Sync,
    mut consume: impl FnMut(&Block, R) -> Result<(), StageError>,
) -> Result<Vec<Whole>, StageError> {
    if threads < 2 {
        while let Some(block) = blocks.next_block()? {
            consume(&block, work(&block))?;
            blocks.take_back(block);
        }
        return Ok(blocks.into_whole());
    }
    let pool = pool(threads).map_err(|source| StageError::Io {
        verb: "read",
        path: blocks.files.first().map(|file| file.name.clone()).unwrap_or_default(),
        source,
    })?;
    let most = pool.current_num_threads() * BLOCKS_A_THREAD;
    in_order(
        (&mut blocks, &pool, most),
        Blocks::next_block,
        |block| {
            let result = work(&block);
            (block, result)
        },
        |blocks, (block, result)| {
            consume(&block, result)?;
            blocks.take_back(block);
            Ok(())
        },
    )?;
    Ok(blocks.into_whole())
}

/// More threads than this read no faster than one can feed them, and each holds blocks in memory.
const MAX_THREADS: usize = 16;

/// Threads of a stage's own, so that it has no more than it may; and no more than sixteen, whatever is asked for.
///
/// # Errors
///
/// Whatever starting them gives.
pub fn pool(threads: usize) -> io::Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.min(MAX_THREADS))
        .build();
    pool.map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
