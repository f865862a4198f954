//! How a case is written.

/// The two readings of `vmar_unmap` and `vmar_op_range`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    /// The published pages.
    Documented,
    /// Zircon's kernel.
    Kernel,
}

impl Dialect {
    /// Returns the value of the boot argument `dialect`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Kernel => "kernel",
        }
    }
}

/// One behaviour.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) dialect: Dialect,
    /// Returns where the behaviour is as it should be, else panics.
    pub(crate) run: fn(),
}

/// Defines the cases of a file, as functions with an attribute that names the dialect: `#[kernel]`, `#[documented]`,
/// or `#[both]`, which makes two cases of a function that takes the [`Dialect`]. The attribute takes further boot
/// arguments.
macro_rules! cases {
    ($(#[$dialect:ident $(($arguments:literal))?] fn $name:ident($($parameter:ident: Dialect)?) $body:block)*) => {
        pub(super) const CASES: &[&[$crate::case::Case]] =
            &[$($crate::case::case!($dialect, $name, $($arguments)?)),*];

        $(
            #[expect(non_snake_case, reason = "a case is named for what it asserts, id first")]
            fn $name($($parameter: $crate::case::Dialect)?) $body
        )*
    };
}

/// Makes the entries of one function, and lists them for the host.
macro_rules! case {
    (kernel, $name:ident, $($arguments:literal)?) => {
        &[$crate::case::case!(@ $name, "", Kernel, "\tkernel" $(, "\t", $arguments)?; $name)]
    };
    (documented, $name:ident, $($arguments:literal)?) => {
        &[$crate::case::case!(@ $name, "", Documented, "\tdocumented" $(, "\t", $arguments)?; $name)]
    };
    (both, $name:ident, $($arguments:literal)?) => {
        &[
            $crate::case::case!(@ $name, "_documented", Documented, "\tdocumented" $(, "\t", $arguments)?;
                || $name($crate::case::Dialect::Documented)),
            $crate::case::case!(@ $name, "_kernel", Kernel, "\tkernel" $(, "\t", $arguments)?;
                || $name($crate::case::Dialect::Kernel)),
        ]
    };
    (@ $name:ident, $suffix:literal, $dialect:ident, $($boot:literal),*; $run:expr) => {{
        const LINE: &str = concat!(stringify!($name), $suffix, $($boot,)* "\n");
        #[used]
        #[unsafe(link_section = ".cases")]
        static LISTED: [u8; LINE.len()] = *LINE.as_bytes().first_chunk().expect("a line is as long as it is");
        $crate::case::Case {
            name: concat!(stringify!($name), $suffix),
            dialect: $crate::case::Dialect::$dialect,
            run: $run,
        }
    }};
}

pub(crate) use {case, cases};
