//! Checked reading of little-endian integers and bincode's variable-length integers.
//!
//! **Invariant:** no input panics and no length is trusted: every read checks what is left.

/// The input ended early or holds a tag that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The input ends within a value.
    #[error("it ends within a value")]
    Short,
    /// A byte stands where only some values are allowed.
    #[error("byte {0:#04x} stands where a tag is expected")]
    Tag(u8),
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A number is out of its type's range.
    #[error("a number is out of range")]
    Range,
    /// Bytes are left where the input should end.
    #[error("{0} bytes are left over")]
    Trailing(usize),
}

/// A cursor over bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (head, tail) = self.0.split_first().ok_or(Malformed::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn f64(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// An unsigned integer of bincode's standard configuration: itself up to 250, else a tag byte
    /// and two, four or eight bytes.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            byte @ 0..=250 => Ok(u64::from(byte)),
            251 => Ok(u64::from(self.u16()?)),
            252 => Ok(u64::from(self.u32()?)),
            253 => self.u64(),
            byte => Err(Malformed::Tag(byte)),
        }
    }

    /// A signed integer of bincode's standard configuration: zigzag, then as unsigned.
    #[inline]
    pub(crate) fn zigzag(&mut self) -> Result<i64, Malformed> {
        let value = self.varint()?;
        let magnitude = (value >> 1).cast_signed();
        Ok(if value & 1 == 0 { magnitude } else { !magnitude })
    }

    /// A byte that is 0 or 1: a boolean, or whether an optional value follows.
    #[inline]
    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            byte => Err(Malformed::Tag(byte)),
        }
    }

    /// Bytes with their length in front.
    #[inline]
    pub(crate) fn counted(&mut self) -> Result<&'a [u8], Malformed> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        self.take(count)
    }

    /// Fails when anything is left.
    pub(crate) const fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_bincode() {
        let config = bincode::config::standard();
        for shift in 0..64 {
            for delta in [-1i64, 0, 1] {
                let value = (1u64 << shift).wrapping_add_signed(delta);
                let encoded = bincode::encode_to_vec(value, config).unwrap();
                let mut bytes = Bytes(&encoded);
                assert_eq!((bytes.varint(), bytes.end()), (Ok(value), Ok(())));

                let signed = value.cast_signed();
                let encoded = bincode::encode_to_vec(signed, config).unwrap();
                let mut bytes = Bytes(&encoded);
                assert_eq!((bytes.zigzag(), bytes.end()), (Ok(signed), Ok(())));
            }
        }
    }

    #[test]
    fn every_cut_is_an_error() {
        let encoded = bincode::encode_to_vec((u64::MAX, "text"), bincode::config::standard());
        let encoded = encoded.unwrap();
        let read = |bytes: &[u8]| {
            let mut bytes = Bytes(bytes);
            let number = bytes.varint()?;
            Ok::<_, Malformed>((number, bytes.counted()?.to_vec()))
        };
        assert_eq!(read(&encoded), Ok((u64::MAX, b"text".to_vec())));
        for cut in 0..encoded.len() {
            assert_eq!(read(&encoded[..cut]), Err(Malformed::Short), "cut at {cut}");
        }
    }
}
