//! From addresses to functions, by the debug information of a program.

use std::ops::Range;
use std::path::Path;

use addr2line::Loader;
use anyhow::{Result, anyhow};

use super::code;

/// The functions of a program.
pub(super) struct Symbols {
    loader: Loader,
    code: Vec<Range<u64>>,
}

/// What an instruction belongs to.
pub(super) struct Named {
    /// The function that it is written in.
    pub(super) function: String,
    /// The function that it was compiled into.
    pub(super) compiled_into: String,
}

/// What has no name, as the code before a program's first function.
const UNNAMED: &str = "(no name)";

impl Symbols {
    /// Reads a program.
    ///
    /// # Errors
    ///
    /// It is none, or has no debug information that could be read.
    pub(super) fn read(program: &Path) -> Result<Self> {
        let name = program.display();
        let code = code::ranges(program)?;
        let loader =
            Loader::new(program).map_err(|error| anyhow!("the functions of {name} cannot be read: {error}"))?;
        Ok(Self { loader, code })
    }

    /// Returns where the program's code is.
    pub(super) fn code(&self) -> &[Range<u64>] {
        &self.code
    }

    /// Returns what the instruction at the address belongs to, or `None` where it is another program's.
    pub(super) fn find(&self, address: u64) -> Option<Named> {
        self.code.iter().any(|range| range.contains(&address)).then(|| self.name(address))
    }

    fn name(&self, address: u64) -> Named {
        let mut names = self.inlined(address).into_iter();
        // What is written in assembly has a symbol alone.
        let symbol = || self.loader.find_symbol(address).map_or(UNNAMED.into(), demangled);
        let function = names.next().unwrap_or_else(symbol);
        let compiled_into = names.next_back().unwrap_or_else(|| function.clone());
        Named { function, compiled_into }
    }

    /// Returns the names of the functions around an instruction, the innermost first.
    fn inlined(&self, address: u64) -> Vec<String> {
        let mut names = Vec::new();
        let Ok(mut frames) = self.loader.find_frames(address) else { return names };
        while let Ok(Some(frame)) = frames.next() {
            let name =
                frame.function.as_ref().and_then(|function| function.raw_name().ok().map(|name| demangled(&name)));
            names.extend(name);
        }
        names
    }
}

/// Returns the name as it was written, without the hash that the compiler puts at its end.
fn demangled(name: &str) -> String {
    addr2line::demangle_auto(name.into(), None).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_written() {
        assert_eq!(demangled("_ZN6stage25table4find17h0123456789abcdefE"), "stage2::table::find");
        assert_eq!(demangled("vectors"), "vectors");
    }

    #[test]
    fn this_test_finds_itself_and_nothing_at_an_address_of_nobody() {
        let symbols = Symbols::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(symbols.find(0).is_none());
        let inside = symbols.code[0].start + (symbols.code[0].end - symbols.code[0].start) / 2;
        assert!(symbols.find(inside).is_some_and(|named| named.function != UNNAMED));
    }
}
