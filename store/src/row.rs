//! What the code that the derives write calls: a field's encoding and its borrowed value.
//!
//! The encoding is bincode 2's standard configuration, so that a row decodes as a tuple of its
//! stored fields in order. It writes into the caller's buffer and allocates nothing itself.

use bincode::Encode;
use bincode::config::{Configuration, standard};
use bincode::enc::EncoderImpl;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;

use crate::table::ValueRef;

/// A type that a stored field can have. Only this crate implements it.
pub trait Field: Encode + sealed::Sealed {
    /// The value, borrowed.
    fn value(&self) -> ValueRef<'_>;
}

/// Appends the fields of one row to a buffer.
pub struct RowEncoder<'a>(EncoderImpl<Buffer<'a>, Configuration>);

impl<'a> RowEncoder<'a> {
    /// Starts a row at the end of `out`.
    #[inline]
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self(EncoderImpl::new(Buffer(out), standard()))
    }

    /// Appends the next field.
    #[inline]
    pub fn put(&mut self, field: &impl Field) {
        field.encode(&mut self.0).expect("a buffer takes every field");
    }
}

struct Buffer<'a>(&'a mut Vec<u8>);

impl Writer for Buffer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! fields {
    ($($field:ty => |$value:ident| $borrowed:expr,)*) => { $(
        impl sealed::Sealed for $field {}

        impl Field for $field {
            #[inline]
            fn value(&self) -> ValueRef<'_> {
                let $value = self;
                $borrowed
            }
        }
    )* };
}

fields! {
    bool => |value| ValueRef::Bool(*value),
    i32 => |value| ValueRef::I32(*value),
    i64 => |value| ValueRef::I64(*value),
    u32 => |value| ValueRef::U32(*value),
    u64 => |value| ValueRef::U64(*value),
    f64 => |value| ValueRef::F64(*value),
    String => |value| ValueRef::Text(value),
    Vec<u8> => |value| ValueRef::Blob(value),
}

impl<T: Field> sealed::Sealed for Option<T> {}

impl<T: Field> Field for Option<T> {
    #[inline]
    fn value(&self) -> ValueRef<'_> {
        self.as_ref().map_or(ValueRef::Null, Field::value)
    }
}

#[cfg(test)]
mod tests {
    use super::RowEncoder;

    #[test]
    fn a_row_is_a_bincode_tuple() {
        type Row = (u32, Option<u64>, i64, Option<String>, bool, f64, Vec<u8>, Option<i32>);
        let row: Row =
            (70_000, Some(u64::MAX), -1, Some("päth".to_owned()), true, -0.5, vec![0; 300], None);
        let mut bytes = vec![0xAA];
        let mut encoder = RowEncoder::new(&mut bytes);
        encoder.put(&row.0);
        encoder.put(&row.1);
        encoder.put(&row.2);
        encoder.put(&row.3);
        encoder.put(&row.4);
        encoder.put(&row.5);
        encoder.put(&row.6);
        encoder.put(&row.7);
        assert_eq!(bytes[0], 0xAA, "what stood in the buffer stays");
        let expected = bincode::encode_to_vec(&row, bincode::config::standard()).unwrap();
        assert_eq!(bytes[1..], expected);
        let (decoded, length): (Row, usize) =
            bincode::decode_from_slice(&bytes[1..], bincode::config::standard()).unwrap();
        assert_eq!((decoded, length), (row, bytes.len() - 1));
    }
}
