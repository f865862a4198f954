//! Which tests are wanted.

/// The names, or parts of names, that were asked for; none means all.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    names: &'a [String],
}

impl<'a> Selection<'a> {
    /// Selects what has one of the names in its own, or everything.
    pub(super) fn new(names: &'a [String]) -> Self {
        Self { names }
    }

    /// Tells whether the test of that name is wanted.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }

    /// Tells whether a test whose name starts with `family` may be wanted, told before the names of its tests are known.
    pub(super) fn may_have(&self, family: &str) -> bool {
        let names_other_family = |part: &str| {
            let families = ["bench/", "check/", "host/", "mutants/", "qemu/"];
            families.iter().any(|other| part.starts_with(other)) && !part.starts_with(family)
        };
        self.names.is_empty() || self.names.iter().any(|part| !names_other_family(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select_what_contains_them() {
        let names = ["unmap".to_owned(), "qemu/tour".to_owned()];
        let selection = Selection::new(&names);
        assert!(selection.has("host/vm/vmar::unmap_splits") && selection.has("qemu/tour/max"));
        assert!(!selection.has("check/format"));
        assert!(Selection::new(&[]).has("check/format"));
    }

    #[test]
    fn a_family_is_left_out_only_where_every_name_is_of_another() {
        let may_have = |names: &[&str], family| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            Selection::new(&names).may_have(family)
        };
        assert!(may_have(&[], "qemu/"));
        assert!(may_have(&["unmap"], "qemu/"));
        assert!(may_have(&["check/", "qemu/tour"], "qemu/"));
        assert!(!may_have(&["check/", "host/abi"], "qemu/"));
        assert!(!may_have(&["bench/"], "host/"));
    }
}
