//! Arrow IPC files that somebody else may have written: every length and offset is checked against the file before the
//! Arrow reader sees it.
//!
//! Specification: Apache Arrow, "IPC File Format". Files without dictionaries and compression are taken; that is what
//! `featurize` writes.

use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileDecoder;
use arrow_ipc::{Block, Message, root_as_footer, root_as_message};
use arrow_schema::{DataType, Schema};

/// The file's first and last bytes.
const MAGIC: &[u8; 6] = b"ARROW1";

/// The longest footer that is taken: some thousands of columns, and the places of some hundred thousand batches.
const MAX_FOOTER: u64 = 64 << 20;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvelopeError {
    /// The disk.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// Not an Arrow file, or one that does not hold together.
    #[error("{0}")]
    Malformed(String),
}

fn malformed(message: impl Into<String>) -> EnvelopeError {
    EnvelopeError::Malformed(message.into())
}

/// An Arrow file, open for reading batch by batch.
pub(crate) struct ArrowFile<R> {
    reader: R,
    decoder: Arc<BatchDecoder>,
    blocks: std::vec::IntoIter<Block>,
}

impl<R: Read + Seek> ArrowFile<R> {
    /// Reads the footer, which says what and where everything is.
    pub(crate) fn open(mut reader: R) -> Result<Self, EnvelopeError> {
        let size = reader.seek(SeekFrom::End(0))?;
        let footer = read_footer(&mut reader, size)?;
        let (schema, blocks, decoder) = guarded(|| {
            let footer =
                root_as_footer(&footer).map_err(|error| malformed(format!("its footer is broken: {error}")))?;
            if footer
                .dictionaries()
                .is_some_and(|dictionaries| !dictionaries.is_empty())
            {
                return Err(malformed("it has dictionaries, which are not read here"));
            }
            let schema = footer.schema().ok_or_else(|| malformed("it has no schema"))?;
            let schema = arrow_ipc::convert::try_fb_to_schema(schema)
                .map_err(|error| malformed(format!("its schema is broken: {error}")))?;
            check_types(&schema)?;
            let blocks: Vec<Block> = footer.recordBatches().iter().flatten().copied().collect();
            let schema = Arc::new(schema);
            let decoder = FileDecoder::new(Arc::clone(&schema), footer.version());
            Ok((schema, blocks, decoder))
        })?;
        for block in &blocks {
            check_block(block, size)?;
        }
        Ok(Self {
            reader,
            decoder: Arc::new(BatchDecoder { decoder, schema }),
            blocks: blocks.into_iter(),
        })
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &Schema {
        &self.decoder.schema
    }

    /// The next batch, or `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, EnvelopeError> {
        self.next_raw()?.map(|raw| self.decoder.decode(raw)).transpose()
    }

    /// The next batch as it stands in the file, or `None` at the end.
    pub(crate) fn next_raw(&mut self) -> Result<Option<RawBatch>, EnvelopeError> {
        let Some(block) = self.blocks.next() else {
            return Ok(None);
        };
        let (metadata, body) = lengths(&block)?;
        let length = usize::try_from(metadata + body).map_err(|_| malformed("a batch is too large"))?;
        let offset = u64::try_from(block.offset()).map_err(|_| malformed("a batch lies before the file"))?;
        self.reader.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        Ok(Some(RawBatch { block, bytes }))
    }

    /// What makes batches of raw ones, on any thread.
    pub(crate) fn decoder(&self) -> Arc<BatchDecoder> {
        Arc::clone(&self.decoder)
    }
}

/// A batch as it stands in the file.
pub(crate) struct RawBatch {
    block: Block,
    /// Header and body.
    pub(crate) bytes: Vec<u8>,
}

/// Makes batches of raw ones.
pub(crate) struct BatchDecoder {
    decoder: FileDecoder,
    schema: Arc<Schema>,
}

impl BatchDecoder {
    /// The batch that `raw` is, if every length in it is right.
    pub(crate) fn decode(&self, raw: RawBatch) -> Result<RecordBatch, EnvelopeError> {
        let (metadata, body) = lengths(&raw.block)?;
        let metadata = usize::try_from(metadata).map_err(|_| malformed("a batch is too large"))?;
        guarded(|| {
            check_message(&raw.bytes[..metadata], body, &self.schema)?;
            self.decoder
                .read_record_batch(&raw.block, &raw.bytes.into())
                .map_err(|error| malformed(format!("a batch is broken: {error}")))
        })?
        .ok_or_else(|| malformed("a batch is missing"))
    }
}

/// Runs a part of the Arrow reader. What is checked above leaves it no reason to panic that is known; if it finds one
/// all the same, the file is refused and not the process ended.
fn guarded<T>(read: impl FnOnce() -> Result<T, EnvelopeError>) -> Result<T, EnvelopeError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(malformed("it is broken in a way that stops its reader")))
}

fn read_footer(reader: &mut (impl Read + Seek), size: u64) -> Result<Vec<u8>, EnvelopeError> {
    let mut start = [0; 6];
    let mut end = [0; 10];
    if size < 6 + 2 + 10 {
        return Err(malformed("it is too short for an Arrow file"));
    }
    reader.seek(SeekFrom::Start(0))?;
    reader.read_exact(&mut start)?;
    reader.seek(SeekFrom::End(-10))?;
    reader.read_exact(&mut end)?;
    if &start != MAGIC || &end[4..] != MAGIC {
        return Err(malformed(
            "it is no Arrow IPC file, or one that was not written to its end",
        ));
    }
    let length = i32::from_le_bytes([end[0], end[1], end[2], end[3]]);
    let length = u64::try_from(length).map_err(|_| malformed("its footer has a negative length"))?;
    if length > size - 18 || length > MAX_FOOTER {
        return Err(malformed(format!("its footer cannot be {length} bytes long")));
    }
    let mut footer = vec![0; usize::try_from(length).map_err(|_| malformed("its footer is too long"))?];
    reader.seek(SeekFrom::Start(size - 10 - length))?;
    reader.read_exact(&mut footer)?;
    Ok(footer)
}

/// Only types without children and views, so that the reader's simplest paths are all that is used.
fn check_types(schema: &Schema) -> Result<(), EnvelopeError> {
    for field in schema.fields() {
        if !matches!(field.data_type(), DataType::Utf8 | DataType::Float64) {
            let message = format!(
                "column `{}` has the type {}, but only utf8 and float64 are read here",
                field.name(),
                field.data_type()
            );
            return Err(malformed(message));
        }
    }
    Ok(())
}

/// The lengths of a block's metadata and body.
fn lengths(block: &Block) -> Result<(u64, u64), EnvelopeError> {
    match (u64::try_from(block.metaDataLength()), u64::try_from(block.bodyLength())) {
        // Eight bytes are the continuation marker and the length.
        (Ok(metadata), Ok(body)) if metadata > 8 => Ok((metadata, body)),
        _ => Err(malformed("a batch has an impossible length")),
    }
}

fn check_block(block: &Block, size: u64) -> Result<(), EnvelopeError> {
    let (metadata, body) = lengths(block)?;
    let end = u64::try_from(block.offset())
        .ok()
        .and_then(|offset| offset.checked_add(metadata)?.checked_add(body));
    match end {
        Some(end) if end <= size => Ok(()),
        _ => Err(malformed("a batch does not lie in the file")),
    }
}

/// Every length that the batch's header claims must fit the body that is there.
fn check_message(metadata: &[u8], body: u64, schema: &Schema) -> Result<(), EnvelopeError> {
    // The reader would take the older form without the marker too, at another offset; nobody writes it to files now.
    if metadata[..4] != [0xff; 4] {
        return Err(malformed("a batch does not begin as one"));
    }
    let message: Message<'_> =
        root_as_message(&metadata[8..]).map_err(|error| malformed(format!("a batch's header is broken: {error}")))?;
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| malformed("a message is no batch"))?;
    if batch.compression().is_some() {
        return Err(malformed("it is compressed; write it without compression"));
    }
    let within = |length: i64| u64::try_from(length).is_ok_and(|length| length <= body);
    // A row takes at least four bytes, of the offset of its id.
    if !within(batch.length()) {
        return Err(malformed("a batch claims more rows than it holds"));
    }
    for node in batch.nodes().iter().flatten() {
        if node.length() != batch.length() || node.null_count() < 0 || node.null_count() > node.length() {
            return Err(malformed("a column of a batch has an impossible length"));
        }
    }
    // Of what width are the items of each buffer: a bitmap of what is there, then offsets and bytes, or numbers.
    let widths = schema.fields().iter().flat_map(|field| match field.data_type() {
        DataType::Utf8 => [1, 4, 1].as_slice(),
        _ => &[1, 8],
    });
    let widths: Vec<i64> = widths.copied().collect();
    let buffers = batch.buffers().ok_or_else(|| malformed("a batch has no buffers"))?;
    if buffers.len() != widths.len() {
        return Err(malformed("a batch has other buffers than its columns need"));
    }
    for (buffer, width) in buffers.iter().zip(widths) {
        let end = buffer.offset().checked_add(buffer.length());
        if !within(buffer.offset()) || !within(buffer.length()) || !end.is_some_and(within) {
            return Err(malformed("a buffer of a batch does not lie in it"));
        }
        if buffer.length() % width != 0 {
            return Err(malformed("a buffer of a batch does not hold whole values"));
        }
    }
    Ok(())
}
