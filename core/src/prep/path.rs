//! The rules of znode paths (`PathUtils`, `DataTree.isSpecialPath`).

/// The nodes that every tree has; nobody can delete them.
const SPECIAL: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// Whether it is `/zookeeper` or below it.
pub(crate) fn is_system(path: &str) -> bool {
    path.strip_prefix("/zookeeper").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a node of this name may be created or changed (`PathUtils.validatePath`).
///
/// The original judges UTF-16 units, so everything beyond the basic multilingual plane is
/// refused together with the surrogates, control characters, the private use area and
/// the specials, to which the replacement character of a malformed name belongs.
pub(crate) fn is_valid(path: &str) -> bool {
    let Some(names) = path.strip_prefix('/') else { return false };
    names.is_empty() || names.split('/').all(is_valid_name)
}

/// The path of a node's parent, `""` for the root; `None` where a path has no `/` at all.
pub(crate) fn parent(path: &str) -> Option<&str> {
    path.rfind('/').and_then(|at| path.get(..at))
}

/// Whether the tree itself needs this node.
pub(crate) fn is_special(path: &str) -> bool {
    SPECIAL.contains(&path)
}

/// Whether a create can be judged further: there is a parent to look for, and no NUL.
pub(crate) fn has_parent(path: &str) -> bool {
    path.contains('/') && !path.contains('\0')
}

fn is_valid_name(name: &str) -> bool {
    if matches!(name, "" | "." | "..") {
        return false;
    }
    // Nearly every name is plain ASCII.
    name.bytes().all(|b| matches!(b, 0x20..=0x7e)) || !name.chars().any(is_illegal)
}

fn is_illegal(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fff0}'..='\u{ffff}'
            | '\u{10000}'..
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_paths() {
        for path in [
            "/",
            "/a",
            "/a/b",
            "/...",
            "/a..",
            "/..a",
            "/.a",
            "/a.",
            "/a b",
            "/~",
            "/\u{a0}",
            "/\u{d7ff}",
            "/\u{f900}",
            "/\u{ffef}",
            "/zookeeper",
            "/日本",
        ] {
            assert!(is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn illegal_paths() {
        for path in [
            "",
            "a",
            "a/b",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/./a",
            "/../a",
            "/a/.",
            "/a/..",
            "/a/./b",
            "/a/../b",
            "/\0",
            "/a\u{1}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{fffd}",
            "/\u{ffff}",
            "/\u{1f600}",
        ] {
            assert!(!is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn parents() {
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some(""));
        assert_eq!(parent("/"), Some(""));
        assert_eq!(parent("/a/"), Some("/a"));
        assert_eq!(parent("a"), None);
        assert!(has_parent("a/b") && !has_parent("ab") && !has_parent("/a\0"));
    }

    #[test]
    fn system_nodes_are_special() {
        assert!(is_special("/zookeeper/config") && is_special("/"));
        assert!(!is_special("/zookeeper/config/x") && !is_special(""));
    }
}
