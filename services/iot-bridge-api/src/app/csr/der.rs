//! The shape of DER (X.690 §10 and §11), checked before any parser looks at the meaning.
//!
//! Parsers differ in what they forgive: trailing bytes, long lengths, a second value where one belongs. What one
//! of them skips, the authority might sign. So everything is refused that has a second way to be written.

/// How deep elements may be nested; a CSR of our profile needs eight.
pub(super) const MAX_DEPTH: usize = 16;

const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
const CONSTRUCTED: u8 = 0x20;
/// What says whose a tag is: universal, or something else.
const CLASS: u8 = 0xc0;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// The bytes are not DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotDer;

/// One element: tag, length, content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads bytes that are exactly one element, and checks it to its leaves.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, NotDer> {
        let element = Self::alone(bytes)?;
        element.check(MAX_DEPTH)?;
        Ok(element)
    }

    /// Returns the elements inside, when there are between `least` and `most`.
    pub(super) fn parts(&self, least: usize, most: usize) -> Result<Vec<Self>, NotDer> {
        let parts = self.children()?;
        if (least..=most).contains(&parts.len()) {
            Ok(parts)
        } else {
            Err(NotDer)
        }
    }

    /// Returns the elements inside, when they are exactly of these tags.
    pub(super) fn fields<const N: usize>(&self, tags: [u8; N]) -> Result<[Self; N], NotDer> {
        let fields: [Self; N] = self.children()?.try_into().map_err(|_| NotDer)?;
        if fields.map(|field| field.tag) == tags {
            Ok(fields)
        } else {
            Err(NotDer)
        }
    }

    /// Checks an OID and at most one element that it is the type of, and `least` parts in all.
    pub(super) fn check_typed(&self, least: usize) -> Result<(), NotDer> {
        let parts = self.parts(least, 2)?;
        let has_type = parts.first().is_some_and(|part| part.tag == OID);
        ensure(has_type && parts.iter().all(Self::is_universal))
    }

    /// Checks a `Name`: sets of a type and a value each.
    pub(super) fn check_name(&self) -> Result<(), NotDer> {
        for set in self.children()? {
            ensure(set.tag == SET)?;
            let attributes = set.parts(1, usize::MAX)?;
            attributes.iter().try_for_each(|attribute| attribute.check_typed(2))?;
        }
        Ok(())
    }

    /// Checks what an extension request has for values: one list of extensions (RFC 5280 §4.1).
    pub(super) fn check_extensions(&self) -> Result<(), NotDer> {
        let [list] = self.fields([SEQUENCE])?;
        for extension in list.children()? {
            let parts = extension.children()?;
            let tags: Vec<u8> = parts.iter().map(|part| part.tag).collect();
            let is_whole = matches!(tags.as_slice(), [OID, OCTET_STRING] | [OID, BOOLEAN, OCTET_STRING]);
            ensure(extension.tag == SEQUENCE && is_whole)?;
        }
        Ok(())
    }

    /// Checks that nothing down to `depth` levels has a tag of a structure's own. A parser that looks at the number of
    /// a tag alone takes such an element for another one.
    pub(super) fn check_universal(&self, depth: usize) -> Result<(), NotDer> {
        ensure(self.is_universal())?;
        if depth == 0 || self.tag & CONSTRUCTED == 0 {
            return Ok(());
        }
        self.children()?
            .iter()
            .try_for_each(|child| child.check_universal(depth - 1))
    }

    fn is_universal(&self) -> bool {
        self.tag & CLASS == 0
    }

    fn alone(bytes: &'a [u8]) -> Result<Self, NotDer> {
        let (element, rest) = Self::split(bytes)?;
        if rest.is_empty() { Ok(element) } else { Err(NotDer) }
    }

    fn children(&self) -> Result<Vec<Self>, NotDer> {
        if self.tag & CONSTRUCTED == 0 {
            return Err(NotDer);
        }
        let mut rest = self.content;
        let mut children = Vec::new();
        while !rest.is_empty() {
            let (child, after) = Self::split(rest)?;
            children.push(child);
            rest = after;
        }
        Ok(children)
    }

    /// Splits the first element off. Lengths over 64 KiB do not occur in what is small enough to get here.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), NotDer> {
        let (tag, length, rest) = match *bytes {
            [tag, length @ 0..=0x7f, ref rest @ ..] | [tag, 0x81, length @ 0x80..=0xff, ref rest @ ..] => {
                (tag, u16::from(length), rest)
            }
            [tag, 0x82, high @ 1..=0xff, low, ref rest @ ..] => (tag, u16::from_be_bytes([high, low]), rest),
            _ => return Err(NotDer),
        };
        let (content, rest) = rest.split_at_checked(length.into()).ok_or(NotDer)?;
        Ok((Self { tag, content }, rest))
    }

    fn check(&self, depth: usize) -> Result<(), NotDer> {
        let depth = depth.checked_sub(1).ok_or(NotDer)?;
        if !self.is_well_formed() {
            return Err(NotDer);
        }
        if self.tag & CONSTRUCTED == 0 {
            return Ok(());
        }
        self.children()?.iter().try_for_each(|child| child.check(depth))
    }

    fn is_well_formed(&self) -> bool {
        if self.tag & 0x1f == 0x1f {
            return false; // tags of more than one byte are in no structure that we read
        }
        if self.is_universal() && self.tag & CONSTRUCTED != 0 {
            return self.tag == SEQUENCE || self.tag == SET;
        }
        match (self.tag, self.content) {
            (BOOLEAN, content) => matches!(content, [0 | 0xff]),
            (INTEGER, content) => !matches!(content, [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..]),
            (BIT_STRING, [0, ..]) => true,
            (BIT_STRING, [unused @ 1..=7, .., last]) => last.trailing_zeros() >= u32::from(*unused),
            (BIT_STRING, _) => false,
            (NULL, content) => content.is_empty(),
            (OID, content) => matches!(content, [.., 0..=0x7f]),
            (tag, _) => tag != 0x10 && tag != 0x11 && tag != 0,
        }
    }
}

fn ensure(holds: bool) -> Result<(), NotDer> {
    if holds { Ok(()) } else { Err(NotDer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_der_allows_is_read() {
        let one_of_each = [
            0x30, 0x0b, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00, 0x05, 0x00, 0x06, 0x01, 0x2a,
        ];
        assert_eq!(Element::read(&one_of_each).unwrap().parts(4, 4).unwrap().len(), 4);
    }

    #[test]
    fn what_has_a_second_way_to_be_written_is_refused() {
        let cases: &[(&str, &[u8])] = &[
            ("nothing", &[]),
            ("half a head", &[0x30]),
            ("trailing byte", &[0x05, 0x00, 0x00]),
            ("indefinite length", &[0x30, 0x80, 0x00, 0x00]),
            ("long form of a short length", &[0x04, 0x81, 0x01, 0xaa]),
            ("leading zero in a length", &[0x04, 0x82, 0x00, 0x01, 0xaa]),
            ("two gigabytes", &[0x04, 0x84, 0x7f, 0xff, 0xff, 0xff]),
            ("content too short", &[0x04, 0x02, 0xaa]),
            ("padded integer", &[0x02, 0x02, 0x00, 0x01]),
            ("padded negative integer", &[0x02, 0x02, 0xff, 0x80]),
            ("empty integer", &[0x02, 0x00]),
            ("true that is not ff", &[0x01, 0x01, 0x01]),
            ("nine unused bits", &[0x03, 0x02, 0x09, 0x00]),
            ("unused bits that are used", &[0x03, 0x02, 0x02, 0x02]),
            ("unused bits of nothing", &[0x03, 0x01, 0x01]),
            ("constructed octet string", &[0x24, 0x02, 0x05, 0x00]),
            ("primitive sequence", &[0x10, 0x00]),
            ("tag of two bytes", &[0x1f, 0x22, 0x00]),
            ("end of contents", &[0x00, 0x00]),
            ("unfinished oid", &[0x06, 0x01, 0x80]),
        ];
        for (name, bytes) in cases {
            assert!(Element::read(bytes).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let nested = |depth: usize| {
            let mut der = Vec::new();
            for _ in 0..depth {
                let length = u8::try_from(der.len()).unwrap();
                der.splice(0..0, [0x30, length]);
            }
            der
        };
        assert!(Element::read(&nested(MAX_DEPTH)).is_ok());
        assert!(Element::read(&nested(MAX_DEPTH + 1)).is_err());
    }
}
