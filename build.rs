//! Lists the words of the program's own texts: whatever else stands in a report came from the host and is hidden there
//! (`src/report/vocabulary.rs`). Packs the schema that the program prints, and tells the linker of a release what to leave out and
//! what to lay side by side (docs/performance.md says what each brings).

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const SCHEMA: &str = "docs/schema/hermes-doctor-1.json";

/// The functions that a look runs, made by `benches/order`.
const ORDER: &str = "benches/order.txt";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let mut words = BTreeSet::new();
    for file in sources(Path::new("src"))? {
        let text = fs::read_to_string(&file)?;
        // Tests speak of secrets; they stand at the end of a file.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_model = file.starts_with("src/model");
        let (literals, code) = split(text);
        literals.iter().for_each(|literal| add_words(literal, &mut words));
        // Names of fields and variants are words of the JSON.
        if is_model {
            add_words(&code, &mut words);
        }
    }
    let list: Vec<String> = words.into_iter().filter(|word| word.len() > 1).collect();
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| io::Error::other("no OUT_DIR"))?;
    fs::write(out.join("vocabulary.txt"), list.join("\n"))?;
    pack_schema(&out)?;
    tell_the_linker(&out)
}

fn pack_schema(out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&fs::read(SCHEMA)?)?;
    fs::write(out.join("schema.json.gz"), packed.finish()?)
}

/// A release ends at a panic, so that nobody reads its tables of unwinding, which would be a twelfth of it; and of 6 MB of code a look
/// runs a fifth. A linker that somebody has chosen may not know this form of script (GNU ld, lld: `INSERT` adds to the usual one):
/// then both are left.
fn tell_the_linker(out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={ORDER}");
    println!("cargo::rustc-check-cfg=cfg(without_unwind_tables)");
    let of = |name: &str| env::var(name).unwrap_or_default();
    let flags = of("CARGO_ENCODED_RUSTFLAGS");
    let is_usual = of("RUSTC_LINKER").is_empty() && !["linker", "fuse-ld"].iter().any(|word| flags.contains(word));
    let target = of("TARGET");
    let is_dynamic = target == "x86_64-unknown-linux-gnu";
    if of("PROFILE") != "release" || !is_usual || !(is_dynamic || target == "x86_64-unknown-linux-musl") {
        return Ok(());
    }
    let mut script = in_order(&fs::read_to_string(ORDER)?);
    // The start files of other targets refer to the tables.
    if is_dynamic {
        script += "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.gcc_except_table .gcc_except_table.*) } } INSERT BEFORE .text;\n";
        println!("cargo::rustc-cfg=without_unwind_tables");
        without_unwinder(out)?;
    }
    let file = out.join("release.ld");
    fs::write(&file, script)?;
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", file.display());
    Ok(())
}

/// A linker script with these functions side by side. A name that no function has is passed over, so that an old order is only
/// less of one.
fn in_order(names: &str) -> String {
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.$*".contains(&byte));
    // Those that are marked as rarely run lie apart, and are run all the same.
    let sections = names
        .lines()
        .filter(is_name)
        .map(|name| format!("*(.text.{name} .text.{name}.* .text.unlikely.{name} .text.unlikely.{name}.*)\n"));
    format!("SECTIONS {{ .text.first : {{\n{}}} }} INSERT BEFORE .text;\n", sections.collect::<String>())
}

/// Takes the unwinder, of which a release runs nothing, from the compiler's archive where it has one: to load its library takes a
/// tenth of the time of a start.
fn without_unwinder(out: &Path) -> io::Result<()> {
    let archive = |name: &str| {
        let answer = Command::new("cc").arg(format!("-print-file-name={name}")).output().ok()?.stdout;
        let path = PathBuf::from(String::from_utf8(answer).ok()?.trim());
        (path.is_absolute() && path.is_file()).then_some(path)
    };
    if let (Some(unwinder), Some(rest)) = (archive("libgcc_eh.a"), archive("libgcc.a")) {
        let directory = out.join("libraries");
        fs::create_dir_all(&directory)?;
        let script = format!("GROUP ( \"{}\" \"{}\" )\n", unwinder.display(), rest.display());
        fs::write(directory.join("libgcc_s.so"), script)?;
        println!("cargo::rustc-link-search=native={}", directory.display());
    }
    Ok(())
}

fn sources(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The string literals of a source, and the code without them and without comments.
fn split(text: &str) -> (Vec<String>, String) {
    let (mut literals, mut code) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(quotation) = ["'\"'", "'\\\"'"].into_iter().find(|it| rest.starts_with(it)) {
            quotation.len()
        } else if let Some((literal, length)) = raw_literal(rest) {
            literals.push(literal.to_owned());
            length
        } else if first == '"' {
            let length = literal_length(rest);
            // A line that is continued, and escapes, separate words.
            let literal = rest.get(1..length.saturating_sub(1)).unwrap_or_default();
            literals.push(literal.replace("\\n", " ").replace("\\t", " ").replace("\\\n", " "));
            length
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    (literals, code)
}

/// `r"…"`, `r#"…"#`.
fn raw_literal(text: &str) -> Option<(&str, usize)> {
    let body = text.strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body.get(hashes..)?.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close)?;
    Some((inside.get(..end)?, 1 + hashes + 1 + end + close.len()))
}

fn literal_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// Whole words in small letters, and those that capitals separate (`MainPID`: `mainpid`, `main`, `pid`).
fn add_words(text: &str, words: &mut BTreeSet<String>) {
    for word in text.split(|character: char| !character.is_ascii_alphabetic()) {
        let mut part = String::new();
        let mut before = ' ';
        for character in word.chars() {
            if character.is_ascii_uppercase() && before.is_ascii_lowercase() {
                words.insert(std::mem::take(&mut part).to_ascii_lowercase());
            }
            part.push(character);
            before = character;
        }
        words.insert(part.to_ascii_lowercase());
        words.insert(word.to_ascii_lowercase());
    }
}
