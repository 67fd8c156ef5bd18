//! Enums that are numbers on the wire.

/// Makes enums with the number of each variant, and `from_i32` for the way back.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i32)]
        pub enum $name { $($(#[$variant_doc])* $variant = $code,)* }

        impl $name {
            /// The meaning of a number, if it has one.
            pub fn from_i32(code: i32) -> Option<$name> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }
        }
    )*};
}

pub(crate) use codes;
