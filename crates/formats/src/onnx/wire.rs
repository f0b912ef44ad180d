//! The protocol buffer wire format: a message is a list of numbered fields, read without copying.
//!
//! Only what ONNX needs: varints, 32- and 64-bit numbers, and length-delimited fields. Nothing
//! recurses, or allocates more than the size of the input justifies. The encoding is described in
//! <https://protobuf.dev/programming-guides/encoding/>.

use super::tensor::narrow;

/// The greatest number of a field.
pub(super) const MAX_FIELD: u64 = (1 << 29) - 1;

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged(pub(super) &'static str);

/// An encoded message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Message<'a>(pub(super) &'a [u8]);

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// Iterates over the fields of a message as pairs of number and value, in their order.
#[derive(Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Message<'a> {
    pub(super) const fn fields(self) -> Fields<'a> {
        Fields(self.0)
    }

    /// The last field with this number: if a field that should be unique is repeated, the last one
    /// counts.
    pub(super) fn last(self, number: u64) -> Result<Option<Field<'a>>, Damaged> {
        let mut found = None;
        for field in self.fields() {
            let (got, field) = field?;
            if got == number {
                found = Some(field);
            }
        }
        Ok(found)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = take_field(&mut self.0);
        if field.is_err() {
            // There is no way to find the next field after an error.
            self.0 = &[];
        }
        Some(field)
    }
}

fn take_field<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Field<'a>), Damaged> {
    let tag = take_varint(bytes)?;
    let field = match tag & 7 {
        0 => Field::Varint(take_varint(bytes)?),
        1 => Field::Fixed64(take_array(bytes)?),
        2 => {
            let len = usize::try_from(take_varint(bytes)?).map_err(|_| ENDS_EARLY)?;
            let (field, rest) = bytes.split_at_checked(len).ok_or(ENDS_EARLY)?;
            *bytes = rest;
            Field::Bytes(field)
        }
        5 => Field::Fixed32(take_array(bytes)?),
        _ => return Err(Damaged("a field has an unknown encoding")),
    };
    Ok((tag >> 3, field))
}

const ENDS_EARLY: Damaged = Damaged("it ends in the middle of a field; was it downloaded fully?");

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Damaged> {
    let (field, rest) = bytes.split_first_chunk::<N>().ok_or(ENDS_EARLY)?;
    *bytes = rest;
    Ok(*field)
}

/// Seven bits a byte, the lowest first; the high bit says that there are more.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(ENDS_EARLY)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Damaged("a number has more than 64 bits"))
}

/// Writes a number as [`take_varint`] reads it.
pub(super) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        bytes.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    bytes.push(low);
}

const WRONG_TYPE: Damaged = Damaged("a field has the wrong type");

impl<'a> Field<'a> {
    pub(super) const fn bytes(self) -> Result<&'a [u8], Damaged> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WRONG_TYPE),
        }
    }

    pub(super) fn message(self) -> Result<Message<'a>, Damaged> {
        self.bytes().map(Message)
    }

    pub(super) fn text(self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged("a string is not UTF-8"))
    }

    /// A signed varint: negative numbers are ten bytes of 64-bit two's complement.
    pub(super) const fn int(self) -> Result<i64, Damaged> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            _ => Err(WRONG_TYPE),
        }
    }

    pub(super) const fn float(self) -> Result<f32, Damaged> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(WRONG_TYPE),
        }
    }

    /// Appends one signed number, or all of a packed field.
    pub(super) fn ints(self, ints: &mut Vec<i64>) -> Result<(), Damaged> {
        match self {
            Self::Varint(value) => ints.push(value.cast_signed()),
            Self::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    ints.push(take_varint(&mut bytes)?.cast_signed());
                }
            }
            _ => return Err(WRONG_TYPE),
        }
        Ok(())
    }

    /// Appends one 64-bit float, or all of a packed field, rounded to 32 bits.
    pub(super) fn doubles(self, floats: &mut Vec<f32>) -> Result<(), Damaged> {
        let bytes = match &self {
            Self::Fixed64(bytes) => bytes,
            Self::Bytes(bytes) => *bytes,
            _ => return Err(WRONG_TYPE),
        };
        let (chunks, []) = bytes.as_chunks::<8>() else {
            return Err(Damaged("packed floats end in the middle of a number"));
        };
        floats.extend(
            chunks
                .iter()
                .map(|&chunk| narrow(f64::from_le_bytes(chunk))),
        );
        Ok(())
    }

    /// Appends one 32-bit float, or all of a packed field.
    pub(super) fn floats(self, floats: &mut Vec<f32>) -> Result<(), Damaged> {
        match self {
            Self::Fixed32(bytes) => floats.push(f32::from_le_bytes(bytes)),
            Self::Bytes(bytes) => {
                let (chunks, []) = bytes.as_chunks::<4>() else {
                    return Err(Damaged("packed floats end in the middle of a number"));
                };
                floats.extend(chunks.iter().copied().map(f32::from_le_bytes));
            }
            _ => return Err(WRONG_TYPE),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>, Damaged> {
        Message(bytes).fields().collect()
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        assert_eq!(
            fields(b"\x08\x96\x01"),
            Ok(vec![(1, Field::Varint(150))]),
            "150"
        );
        assert_eq!(
            fields(b"\x12\x07testing"),
            Ok(vec![(2, Field::Bytes(b"testing"))]),
            "text"
        );
        let mut ints = Vec::new();
        Field::Bytes(b"\x03\x8e\x02\x9e\xa7\x05")
            .ints(&mut ints)
            .unwrap();
        assert_eq!(ints, [3, 270, 86942], "packed");
        let minus_two = b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let (_, field) = fields(minus_two).unwrap()[0];
        assert_eq!(field.int(), Ok(-2), "negative");
    }

    #[test]
    fn damaged_bytes_are_an_error_once() {
        for bytes in [
            &b"\x08"[..],
            b"\x08\x96",
            b"\x12\x07test",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0d\x00\x00",
            b"\x09\x00\x00\x00\x00",
            b"\x0b",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(fields(bytes).is_err(), "{bytes:?}");
            assert_eq!(Message(bytes).fields().count(), 1, "{bytes:?} ends");
        }
        let mut floats = Vec::new();
        assert!(
            Field::Bytes(b"\x00\x00\x80").floats(&mut floats).is_err(),
            "three bytes"
        );
    }
}
