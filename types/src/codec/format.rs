//! The bytes of the format: MessagePack's markers, our extension types, and the bounds that writer and reader share.

/// How deeply arrays, maps and variants with values may be nested. It bounds the stack that reading and writing take:
/// a call has a stack of 1 MiB by default. Both sides count alike, so that nothing can be written that cannot be
/// read.
pub const DEPTH_MAX: u16 = 1024;

/// How many `Some` may stand around one nil. Types that are written by hand have two or three; only a recursive type
/// has more. As many options and newtypes that take nothing from the bytes may stand around one value that is read.
pub const SOMES_MAX: u8 = 250;

pub(super) mod marker {
    pub(in crate::codec) const FIXMAP: u8 = 0x80;
    pub(in crate::codec) const FIXARRAY: u8 = 0x90;
    pub(in crate::codec) const FIXSTR: u8 = 0xa0;
    pub(in crate::codec) const NIL: u8 = 0xc0;
    pub(in crate::codec) const FALSE: u8 = 0xc2;
    pub(in crate::codec) const TRUE: u8 = 0xc3;
    pub(in crate::codec) const BIN8: u8 = 0xc4;
    pub(in crate::codec) const BIN16: u8 = 0xc5;
    pub(in crate::codec) const BIN32: u8 = 0xc6;
    pub(in crate::codec) const EXT8: u8 = 0xc7;
    pub(in crate::codec) const EXT16: u8 = 0xc8;
    pub(in crate::codec) const EXT32: u8 = 0xc9;
    pub(in crate::codec) const F32: u8 = 0xca;
    pub(in crate::codec) const F64: u8 = 0xcb;
    pub(in crate::codec) const U8: u8 = 0xcc;
    pub(in crate::codec) const U16: u8 = 0xcd;
    pub(in crate::codec) const U32: u8 = 0xce;
    pub(in crate::codec) const U64: u8 = 0xcf;
    pub(in crate::codec) const I8: u8 = 0xd0;
    pub(in crate::codec) const I16: u8 = 0xd1;
    pub(in crate::codec) const I32: u8 = 0xd2;
    pub(in crate::codec) const I64: u8 = 0xd3;
    pub(in crate::codec) const FIXEXT1: u8 = 0xd4;
    pub(in crate::codec) const FIXEXT2: u8 = 0xd5;
    pub(in crate::codec) const FIXEXT4: u8 = 0xd6;
    pub(in crate::codec) const FIXEXT8: u8 = 0xd7;
    pub(in crate::codec) const FIXEXT16: u8 = 0xd8;
    pub(in crate::codec) const STR8: u8 = 0xd9;
    pub(in crate::codec) const STR16: u8 = 0xda;
    pub(in crate::codec) const STR32: u8 = 0xdb;
    pub(in crate::codec) const ARRAY16: u8 = 0xdc;
    pub(in crate::codec) const ARRAY32: u8 = 0xdd;
    pub(in crate::codec) const MAP16: u8 = 0xde;
    pub(in crate::codec) const MAP32: u8 = 0xdf;
}

/// The types of our extensions. MessagePack leaves 0 to 127 to applications.
pub(super) mod extension {
    /// `Some` around nil, as often as its one byte says.
    pub(in crate::codec) const SOMES: u8 = 1;
    /// A negative integer of more than 64 bits: 16 bytes of two's complement, the highest first.
    pub(in crate::codec) const I128: u8 = 2;
    /// A positive integer of more than 64 bits: 16 bytes, the highest first.
    pub(in crate::codec) const U128: u8 = 3;
    /// A sequence of `u8`, a byte each. serde's own bytes are MessagePack's `bin`, since a type may tell them apart.
    pub(in crate::codec) const U8_SEQUENCE: u8 = 4;
}
