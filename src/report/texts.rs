//! Checks all texts of a report without serializing them. Mostly there is nothing to mask, and serializing
//! takes twice as long.

use crate::model::text::is_printable;
use crate::parse::mask;
use serde::ser::{self, Impossible, Serialize, Serializer};
use std::fmt::{self, Display};

/// Whether every text is printable and masked. Keys of maps must only be printable, as in `mask_strings`.
pub fn are_clean(part: &impl Serialize) -> bool {
    part.serialize(Texts { are_keys: false }).is_ok()
}

/// A text must be changed, or could not be read.
#[derive(Debug)]
struct Changed;

impl Display for Changed {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a text is not printable or not masked")
    }
}

impl std::error::Error for Changed {}

impl ser::Error for Changed {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

#[derive(Clone, Copy)]
struct Texts {
    are_keys: bool,
}

/// Types without text.
macro_rules! clean {
    ($($name:ident($($argument:ty),*)),* $(,)?) => {
        $(fn $name(self, $(_: $argument),*) -> Result<(), Changed> {
            Ok(())
        })*
    };
}

impl Serializer for Texts {
    type Ok = ();
    type Error = Changed;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Impossible<(), Changed>;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    clean! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64), serialize_u8(u8),
        serialize_u16(u16), serialize_u32(u32), serialize_u64(u64), serialize_f32(f32), serialize_f64(f64),
        serialize_bytes(&[u8]), serialize_none(), serialize_unit(), serialize_unit_struct(&'static str),
        // Names of variants and fields are defined by this program.
        serialize_unit_variant(&'static str, u32, &'static str),
    }

    fn serialize_str(self, text: &str) -> Result<(), Changed> {
        let is_clean = is_printable(text) && (self.are_keys || mask::is_masked(text));
        if is_clean { Ok(()) } else { Err(Changed) }
    }

    fn serialize_char(self, character: char) -> Result<(), Changed> {
        self.serialize_str(character.encode_utf8(&mut [0; 4]))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Changed> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Changed> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Changed> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Changed> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Changed> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Changed> {
        Ok(self)
    }

    /// No type of the model has one; a value that cannot be checked does not count as clean.
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Changed> {
        Err(Changed)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Changed> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Changed> {
        Ok(self)
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, Changed> {
        Ok(self)
    }
}

/// Checks the elements of a sequence or the fields of a structure one by one.
macro_rules! each {
    ($($kind:ident: $name:ident($($field:ty)?)),* $(,)?) => {
        $(impl ser::$kind for Texts {
            type Ok = ();
            type Error = Changed;

            fn $name<T: Serialize + ?Sized>(&mut self, $(_: $field,)? value: &T) -> Result<(), Changed> {
                value.serialize(*self)
            }

            fn end(self) -> Result<(), Changed> {
                Ok(())
            }
        })*
    };
}

each! {
    SerializeSeq: serialize_element(),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeStruct: serialize_field(&'static str),
    SerializeStructVariant: serialize_field(&'static str),
}

impl ser::SerializeMap for Texts {
    type Ok = ();
    type Error = Changed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Changed> {
        key.serialize(Self { are_keys: true })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Changed> {
        value.serialize(Self { are_keys: false })
    }

    fn end(self) -> Result<(), Changed> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(serde::Serialize)]
    enum Variant {
        One(String),
        Named { text: Option<&'static str> },
        Bare,
    }

    #[test]
    fn checks_texts_at_every_depth() {
        let secret = "API_KEY=zq-4711-0815";
        for (name, clean) in [
            ("a list", are_clean(&["x", secret])),
            ("a pair", are_clean(&(1, secret))),
            ("a map", are_clean(&BTreeMap::from([("name", secret)]))),
            ("a variant", are_clean(&Variant::One(secret.to_owned()))),
            ("a named field", are_clean(&Variant::Named { text: Some(secret) })),
            ("deep inside", are_clean(&json!({"a": [{"b": [[{"c": secret}]]}]}))),
            ("a control character", are_clean(&json!({"a": "b\u{1b}[31m"}))),
            ("one in a name", are_clean(&json!({"a\u{1b}": 1}))),
            ("one alone", are_clean(&'\u{202e}')),
        ] {
            assert!(!clean, "{name}");
        }
        assert!(are_clean(&json!({"a": ["ordinary", 1, null, true, {"PATH": 0.5}]})));
        assert!(are_clean(&(Variant::Bare, Variant::Named { text: None })));
        // A key is not masked, whatever its form.
        assert!(are_clean(&BTreeMap::from([(secret, 1)])));
    }

    /// Masked text is clean; otherwise every seal would build a tree of it.
    #[test]
    fn masked_text_is_clean() {
        for text in
            ["curl -H 'Authorization: Bearer abcdefghijkl'", "run --password hunter2", "TOKEN=abc x", "\u{1b}"]
        {
            let mut value = json!([text]);
            assert!(!are_clean(&value), "{text}");
            crate::report::mask_strings(&mut value);
            assert!(are_clean(&value), "{value}");
        }
    }
}
