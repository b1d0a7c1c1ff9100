//! Protocol buffers, as far as a model needs them: fields of whole numbers, bytes and messages.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

/// A message that is written field by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A field that is a whole number, not negative (wire type 0).
    pub(super) fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    /// A field of bytes (wire type 2).
    pub(super) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(super) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// A field that stands several times.
    pub(super) fn messages(self, field: u64, messages: &[Self]) -> Self {
        messages
            .iter()
            .fold(self, |whole, message| whole.message(field, message))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        // Seven bits at a time, the lowest first; the highest bit of a byte says that more follow.
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.0.push(low & 0x7f);
                return;
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_spelled_as_the_encoding_says() {
        // The two examples of the guide: 150 in field 1, and "testing" in field 2.
        let message = Message::new().number(1, 150).text(2, "testing");
        let bytes = message.clone().into_bytes();
        assert_eq!(bytes, b"\x08\x96\x01\x12\x07testing");
        let outer = Message::new()
            .messages(3, &[message.clone(), Message::new()])
            .number(16, 0);
        assert_eq!(
            outer.into_bytes(),
            [b"\x1a\x0c".as_slice(), &bytes, b"\x1a\x00\x80\x01\x00"].concat()
        );
    }
}
