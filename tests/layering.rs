//! Holds the house to its law: a module imports only modules with a strictly lower number, and the lower layers do no I/O.
//! (Layer 0 is one floor: an error has an SQLSTATE.)
//!
//! The numbers stand in one place, the table in the documentation of `src/lib.rs`, and are read from there: what people read is
//! what is enforced. A new module without a line in the table fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Layers below this are pure: no runtime, no clock, no I/O.
const FIRST_IMPURE: u32 = 5;

/// What a pure module must not name. Address types and `Duration` are data and allowed, and so is asking for the number of cores.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::process",
    "std::env",
    "thread::spawn",
    "thread::sleep",
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "println!",
    "eprintln!",
];

#[test]
fn modules_import_only_lower_layers() {
    let layers = layers();
    let mut broken = Vec::new();
    for (module, path, code) in modules() {
        for imported in imports(&code) {
            if imported == module {
                continue;
            }
            match (layers.get(module.as_str()), layers.get(imported.as_str())) {
                (Some(own), Some(other)) if other < own || (*own, *other) == (0, 0) => {}
                (Some(own), Some(other)) => {
                    broken.push(format!("{}: {module} ({own}) imports {imported} ({other})", path.display()));
                }
                // Macros and items of lib.rs itself are no modules.
                (Some(_), None) => broken.push(format!("{}: crate::{imported} has no layer", path.display())),
                (None, _) => {}
            }
        }
    }
    broken.dedup();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_module_has_a_layer_and_every_layer_its_modules() {
    let named: BTreeSet<String> = layers().into_keys().collect();
    let there: BTreeSet<String> = modules().into_iter().map(|(module, _, _)| module).collect();
    assert_eq!(named, there, "left: the table in src/lib.rs, right: the modules in src");
}

#[test]
fn pure_layers_have_no_runtime_no_clock_and_no_io() {
    let layers = layers();
    let mut broken = Vec::new();
    for (module, path, code) in modules() {
        if layers.get(&module).is_some_and(|layer| *layer < FIRST_IMPURE) {
            let named = IMPURE.iter().filter(|word| names(&code, word));
            broken.extend(named.map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Module → layer, from the lines `//!  4  planner` of the table.
fn layers() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    let mut layers = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("//!")) {
        let mut words = line.split('|').map(str::trim).filter(|word| !word.is_empty());
        let (Some(number), Some(modules)) = (words.next().and_then(|word| word.parse().ok()), words.next()) else {
            continue;
        };
        for module in modules.split_whitespace() {
            let module = module.trim_matches(['`', '[', ']', ',']);
            assert!(layers.insert(module.to_string(), number).is_none(), "{module} has two layers");
        }
    }
    assert!(layers.len() > 5, "the table of layers is missing in src/lib.rs");
    layers
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file but `lib.rs`, as (top-level module, path, code without comments, literals and unit tests).
fn modules() -> Vec<(String, PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                files.push(entry);
            }
        }
    }
    files.sort();
    let test_only: BTreeSet<PathBuf> = files.iter().flat_map(|file| test_modules(file)).collect();
    let mut modules = Vec::new();
    for path in files {
        if test_only.contains(&path) {
            continue;
        }
        let relative = path.strip_prefix(source()).unwrap().to_path_buf();
        let file = relative.file_stem().unwrap().to_str().unwrap().to_string();
        // Tests may look at anything.
        if relative.as_os_str() == "lib.rs"
            || ["tests", "testing"].contains(&file.as_str())
            || relative.iter().any(|part| part == "tests")
        {
            continue;
        }
        let first = relative.iter().next().unwrap().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first).to_string();
        modules.push((module, relative, code(&fs::read_to_string(&path).unwrap())));
    }
    modules
}

/// The files of the modules that a file declares with `#[cfg(test)] mod x;`.
fn test_modules(file: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap();
    let stem = file.file_stem().unwrap();
    let folder = if stem == "mod" || stem == "lib" { file.with_file_name("") } else { file.with_extension("") };
    let declared = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
        let (line, _) = rest.split_once('\n')?;
        line.trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';')
    });
    declared.map(|name| folder.join(format!("{name}.rs"))).collect()
}

/// The text without comments, string and character literals, and from the unit tests on.
fn code(text: &str) -> String {
    let text = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(crate) mod tests {"]
        .iter()
        .filter_map(|start| text.find(start))
        .min()
        .map_or(text, |end| &text[..end]);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if c == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest[2..].find('\'').map_or(rest.len(), |end| 2 + end + 1)
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[skip..];
    }
    code
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The top-level modules that `crate::x` and `crate::{x::y, z}` name.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest).to_string());
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (at, c) in group.char_indices() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && c.is_alphanumeric() => {
                    found.insert(word(&group[at..]).to_string());
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
}

/// Whether the code names a thing as a whole word.
fn names(code: &str, name: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(name).any(|(at, _)| {
        !part(code[..at].chars().next_back()) && (name.ends_with('!') || !part(code[at + name.len()..].chars().next()))
    })
}

#[test]
fn the_reader_of_imports_sees_what_the_compiler_sees() {
    let text = "use crate::a::B;\n// crate::no\nuse crate::{c::{D, E}, f, g::H};\nlet s = \"crate::no\"; let q = '\"'; crate::i::j();\n\
                let r = r#\"crate::no\"#;\n#[cfg(test)]\nmod tests {\n use crate::no; }";
    let found: Vec<String> = imports(&code(text)).into_iter().collect();
    assert_eq!(found, ["a", "c", "f", "g", "i"]);
    assert!(names("let x = Instant::now();", "Instant") && !names("Instantly", "Instant"));
}
