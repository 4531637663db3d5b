// SPDX-License-Identifier: MIT OR Apache-2.0

//! `tests/lines` counts what it says.

use crate::example_tree::ExampleTree;
use crate::limits::{CORE, FILE, WRITERS, count_of, counts, long_core, long_files, wrong_writers};
use crate::tree;

#[test]
fn blanks_comments_and_tests_do_not_count() {
    let cases = [
        ("\n  \n\t\nfn f() {}\n", 1),
        ("// a\n/// b\n//! c\n    // d\nfn f() {} // e\n", 1),
        ("/* a\n b /* c */\n d */\nfn f() {}\n", 1),
        ("/* a */ fn f() {}\n", 1),
        ("const A: &str = \"/*\";\nconst B: &str = \"//\";\n", 2),
        ("const A: char = '\"';\n// a\nconst B: char = '\\'';\n// b\nconst C: char = 'é';\n", 3),
        ("fn f<'a>(a: &'a str) {} // '\"'\n// b\n", 1),
        ("const A: &str = \"a\n  // b\n\n  c\\\"\n\";\n// d\n", 4),
        ("const A: &str = r#\"\"//\n// b\n\"#;\n// d\n", 3),
        ("fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n", 1),
        ("#[cfg(test)]\nmod tests {\n    const A: &str = \"\n}\n\";\n}\nfn f() {}\n", 1),
        (
            "#[cfg(test)]\n#[allow(\n    a\n)]\nfn f(\n    a: u8,\n) -> u8\n\
             where\n    A: B,\n{\n}\nfn g() {}\n",
            1,
        ),
        ("#[cfg(any(test, feature = \"testing\"))]\nuse a::{\n    b,\n};\nfn f() {}\n", 1),
        ("#[cfg(feature = \"testing\")]\nuse a;\n#[cfg(all(test, unix))]\nuse b;\nuse d;\n", 1),
        ("struct A {\n    #[cfg(test)]\n    a: u8,\n    b: u8,\n}\n", 3),
        ("#[cfg(not(test))]\nfn f() {}\n#[cfg(feature = \"dbus\")]\nuse a;\n", 4),
    ];
    let tree = ExampleTree::new();
    for (text, expected) in cases {
        tree.put("src/run/counted.rs", text);
        let counted = count_of(&counts(&tree.root, &["src/run/counted.rs"]), "src/run/counted.rs");
        assert_eq!(counted, expected, "{text}");
    }
}

#[test]
fn each_crate_and_the_program_have_a_count() {
    let tree = ExampleTree::new();
    let names: Vec<String> = counts(&tree.root, &[]).into_iter().map(|(_, name)| name).collect();
    let crates = ["src/image", "src/core", "src/source", "src/publish", "src/sim", "program"];
    assert_eq!(names, crates);
    assert_eq!(counts(&tree.root, &["src/sim", "src/main.rs"]).len(), 2);
    assert_eq!(counts(&tree.root, &["src/sim"]), [(1, "src/sim".to_owned())]);
}

#[test]
fn test_files_do_not_count_wherever_they_are_declared() {
    let tree = ExampleTree::new();
    tree.put("src/run/a.rs", "#[cfg(test)]\n#[path = \"other.rs\"]\nmod tests;\n#![allow(a)]\n");
    tree.put("src/run/other.rs", "fn f() {}\n");
    tree.put("src/run/inner.rs", "#![cfg(test)]\nfn f() {}\n");
    let counted: Vec<String> =
        counts(&tree.root, &["--files"]).into_iter().map(|(_, path)| path).collect();
    let read: Vec<String> = tree::read(&tree.root).into_iter().map(|file| file.path).collect();
    assert_eq!(counted, read);
    for path in ["src/run/other.rs", "src/run/inner.rs", "src/core/host/tests.rs"] {
        assert!(tree.root.join(path).is_file() && !read.contains(&path.to_owned()), "{path}");
    }
}

#[test]
fn files_that_write_are_listed() {
    let tree = ExampleTree::new();
    tree.put("src/core/host/a.rs", "use super::Durable;\n");
    tree.put("src/core/host/b.rs", "fn f() {\n    std::fs::rename(a, b)\n}\n");
    tree.put("src/core/host/c.rs", "// Durable\nfn f() {\n    fs::read(a) // fs::write(a)\n}\n");
    tree.put("src/run/d.rs", "use a::Durable;\n");
    let found = counts(&tree.root, &["--writes"]);
    let expected = [(1, "src/core/host/a.rs"), (3, "src/core/host/b.rs"), (4, "total")];
    assert_eq!(found, expected.map(|(count, name)| (count, name.to_owned())));
}

#[test]
fn a_writer_that_the_page_forgets_or_invents_is_red() {
    let tree = ExampleTree::new();
    let page =
        "# Core\n`host/other.rs`\n## The files that write\n| `host/a.rs` |\n## Next\n`b.rs`\n";
    tree.put("src/core/README.md", page);
    tree.put("src/core/host/a.rs", "use super::Durable;\n");
    assert_eq!(wrong_writers(&tree.root), [""; 0]);
    tree.put("src/core/host/a.rs", "\n");
    tree.put("src/core/host/b.rs", "use super::Durable;\n");
    let found = wrong_writers(&tree.root);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("host/b.rs writes") && found[1].contains("lists src/core/host/a.rs"));
}

#[test]
fn a_file_or_a_core_that_is_too_long_is_red() {
    let tree = ExampleTree::new();
    let tests = "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
    tree.put("src/run/long.rs", &format!("{}{tests}", "// a\n".repeat(FILE)));
    assert_eq!(long_files(&tree.root), [""; 0]);
    assert_eq!(long_core(&tree.root), [""; 0]);

    tree.put("src/run/long.rs", &format!("{}{tests}", "\n".repeat(FILE + 1)));
    let expected = "src/run/long.rs has 401 lines without its tests; 400 are allowed.";
    assert_eq!(long_files(&tree.root), [expected]);

    tree.put("src/core/host/long.rs", &"use a::Durable;\n".repeat(WRITERS + 1));
    assert_eq!(long_core(&tree.root).len(), 1);
    tree.put("src/core/host/longer.rs", &"use a;\n".repeat(CORE));
    assert_eq!(long_core(&tree.root).len(), 2);
}
