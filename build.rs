//! Lists the words of the program's own texts. All other words in a report come from the host and are redacted
//! (`src/report/vocabulary.rs`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let mut words = BTreeSet::new();
    for file in sources(Path::new("src"))? {
        let text = fs::read_to_string(&file)?;
        // Tests contain example secrets; they are at the end of a file.
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
    fs::write(out.join("vocabulary.txt"), list.join("\n"))
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

/// The string literals of a source, and its code without literals and comments.
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
            // Continued lines and escapes separate words.
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

/// The content and length of a raw literal: `r"…"`, `r#"…"#`.
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

/// Adds whole words in lower case, and their parts between capitals (`MainPID`: `mainpid`, `main`, `pid`).
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
