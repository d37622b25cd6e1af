//! Secrets in command lines and URLs, made unreadable where they enter.

use crate::parse::text::printable;

/// Stands where a secret stood.
pub const MASK: &str = "***";

/// Longest command line that is kept, in characters: what tells a program apart stands at its beginning.
const LONGEST_LINE: usize = 1000;

/// Words of a name that say that its value is a secret.
const SECRET_WORDS: &[&str] = &[
    "apikey",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "key",
    "nonce",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pat",
    "pwd",
    "secret",
    "token",
];

/// Last words of a name that say that its value is a place or a number, whatever comes before.
const HARMLESS_ENDINGS: &[&str] = &["dir", "file", "path", "port", "type", "url"];

/// Beginnings of well-known tokens.
const TOKEN_PREFIXES: &[&str] = &[
    "AKIA",
    "AIza",
    "eyJ",
    "gho_",
    "ghp_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "hf_",
    "npm_",
    "pypi-",
    "sk-",
    "xoxb-",
    "xoxp-",
];

/// A command line as text: printable, quoted where a word has spaces, secrets masked.
pub fn command(words: &[&[u8]]) -> String {
    let mut out: Vec<String> = Vec::with_capacity(words.len());
    let mut secret_follows = false;
    for word in words {
        let word = printable(word);
        let shown = if secret_follows {
            MASK.to_owned()
        } else if word.contains(char::is_whitespace) {
            tokens(&word, true)
        } else {
            token(&word, true)
        };
        secret_follows = !secret_follows && announces_secret(&word);
        let quoted = if shown.is_empty() || shown.contains([' ', '\'', '"', '$', ';', '|', '&', '<', '>', '(', ')'])
        {
            shlex::try_quote(&shown).map_or_else(|_| shown.clone(), |quoted| quoted.into_owned())
        } else {
            shown
        };
        out.push(quoted);
    }
    let line = out.join(" ");
    match line.char_indices().nth(LONGEST_LINE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Any text: URLs, `--flag value` and `KEY=value` in it. High-entropy words are left, since ids of units and
/// containers look like them.
pub fn text(text: &str) -> String {
    tokens(text, false)
}

/// Masks the words of a text and keeps the white space between them.
fn tokens(text: &str, entropy: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut secret_follows = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end_matches(char::is_whitespace);
        let space = &piece[word.len()..];
        if word.is_empty() {
            out.push_str(space);
            continue;
        }
        if secret_follows {
            out.push_str(MASK);
        } else {
            out.push_str(&token(word, entropy));
        }
        // Behind `Authorization:` stand a scheme and the secret: the scheme announces the next word in its turn.
        let is_scheme = secret_follows && matches!(word, "Bearer" | "Basic" | "Digest" | "Token");
        secret_follows = is_scheme || (!secret_follows && announces_secret(word));
        out.push_str(space);
    }
    out
}

/// A flag whose value is the next word, or an HTTP authorization word.
fn announces_secret(word: &str) -> bool {
    let word = word.trim_matches(['\'', '"']);
    match word.strip_prefix("--") {
        Some(flag) => !flag.contains('=') && names_secret(flag),
        // A key of JSON or YAML, or an HTTP header, with its value behind white space.
        None => word == "Bearer" || word.strip_suffix(':').is_some_and(|name| names_secret(bare(name))),
    }
}

/// A name without the quotes, dashes and brackets around it.
fn bare(name: &str) -> &str {
    name.trim_matches(['-', '\'', '"', '{', '[', ','])
}

fn names_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(['-', '_', '.', ':']).collect();
    let is_secret = words.iter().any(|word| SECRET_WORDS.contains(word))
        || ["apikey", "api_key", "api-key", "password", "secret"].iter().any(|word| lower.ends_with(word));
    is_secret && !words.last().is_some_and(|word| HARMLESS_ENDINGS.contains(word))
}

fn token(word: &str, entropy: bool) -> String {
    if word.contains("://") {
        return url(word);
    }
    if let Some((name, value)) = word.split_once('=') {
        if !value.is_empty() && names_secret(bare(name)) {
            let quote = value.chars().last().filter(|last| matches!(last, '\'' | '"'));
            return format!("{name}={MASK}{}", quote.map(String::from).unwrap_or_default());
        }
        if entropy && is_token(value) {
            return format!("{name}={MASK}");
        }
        return word.to_owned();
    }
    if let Some((name, value)) = word.split_once(':')
        && !value.is_empty()
        && names_secret(bare(name))
    {
        return format!("{name}:{MASK}");
    }
    if entropy && is_token(word) { MASK.to_owned() } else { word.to_owned() }
}

/// Looks like a token: a known beginning, or 32 characters and more of mixed letters and digits without a dot
/// or slash.
fn is_token(word: &str) -> bool {
    let word = word.trim_matches(['\'', '"', ',', ';']);
    if TOKEN_PREFIXES.iter().any(|prefix| word.starts_with(prefix)) && word.len() >= 16 {
        return true;
    }
    word.len() >= 32
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'='))
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// A word with a URL in it: user information, query values and fragment masked.
pub fn url(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return reference(word) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    format!("{scheme}://{authority}{}", reference(tail))
}

/// A path with query and fragment, as a redirect gives it: query values and fragment masked.
fn reference(tail: &str) -> String {
    let (tail, fragment) = match tail.split_once('#') {
        Some((before, _)) => (before, format!("#{MASK}")),
        None => (tail, String::new()),
    };
    let Some((path, query)) = tail.split_once('?') else { return format!("{tail}{fragment}") };
    let masked: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some(("deep", value)) if value.len() <= 1 => format!("deep={value}"),
            Some((name, _)) => format!("{name}={MASK}"),
            None if pair.is_empty() => String::new(),
            None => MASK.to_owned(),
        })
        .collect();
    format!("{path}?{}{fragment}", masked.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let words = shlex::split(text).unwrap();
        command(&words.iter().map(String::as_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn masks_flags_assignments_urls_and_tokens() {
        for (given, shown) in [
            ("hermes serve --token abc --port 0", "hermes serve --token *** --port 0"),
            ("hermes serve --api-key=abc", "hermes serve --api-key=***"),
            ("env OPENAI_API_KEY=abc hermes", "env OPENAI_API_KEY=*** hermes"),
            ("x https://u:p@h/a?token=1&deep=1#f", "x 'https://***@h/a?token=***&deep=1#***'"),
            ("x sk-abcdefghijklmnop", "x ***"),
            ("x 0123456789abcdef0123456789abcdef", "x ***"),
            ("x '{\"API_KEY\": \"abc\", \"my-token\":\"d\"}'", "x '{\"API_KEY\": *** \"my-token\":***'"),
            (
                "bash -c 'FOO_TOKEN=abc hermes --password hunter2 run'",
                "bash -c 'FOO_TOKEN=*** hermes --password *** run'",
            ),
        ] {
            assert_eq!(line(given), shown);
        }
    }

    #[test]
    fn an_authorization_value_is_masked_whole() {
        assert!(!text("Authorization: Bearer abc").contains("abc"));
        assert!(!line("curl -H 'Authorization: Bearer abc'").contains("abc"));
        assert!(!line("curl -H 'Authorization: Basic dTpw'").contains("dTpw"));
    }

    #[test]
    fn leaves_what_is_no_secret() {
        for given in [
            "python3 /home/h/hermes-webui/server.py",
            "hermes serve --ssh-session-token-file /run/x --max-tokens 100 --keepalive 5",
            "hermes dashboard --host 127.0.0.1 --port 9119 --no-open",
            "monkey=1 x",
        ] {
            assert_eq!(line(given), given);
        }
        assert_eq!(text("unit 0123456789abcdef0123456789abcdef"), "unit 0123456789abcdef0123456789abcdef");
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_keeps_no_flagged_value(value in "[a-z]{12}") {
            let shown = line(&format!("x --secret {value} MY_TOKEN={value} http://u:{value}@h/?q={value}"));
            proptest::prop_assert!(!shown.contains(&value));
            let _ = text(&value);
        }
    }
}
