//! Masking of secrets in command lines and URLs. It is applied where the text is read.

use crate::model::text::printable;
use memchr::{memchr_iter, memchr2, memchr2_iter};

/// Replaces a secret.
pub const MASK: &str = "***";

/// Longest command line that is kept, in characters; the start of it identifies the program.
const MAX_LINE: usize = 1000;

/// Words in a name that mark its value as a secret.
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

/// Last words of a name that mark its value as a path or a number, whatever comes before.
const HARMLESS_ENDINGS: &[&str] = &["dir", "file", "path", "port", "type", "url"];

/// Prefixes of well-known tokens.
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
    let mut previous = String::new();
    for word in words {
        let word = printable(word);
        let shown = if secret_follows {
            MASK.to_owned()
        } else if let Some(shown) = credentials(&previous, &word) {
            shown
        } else if word.contains(char::is_whitespace) {
            tokens(&word, true)
        } else {
            token(&word, true)
        };
        secret_follows = !secret_follows && is_secret_flag(&word);
        previous.clone_from(&word);
        let quoted = if shown.is_empty() || shown.contains([' ', '\'', '"', '$', ';', '|', '&', '<', '>', '(', ')'])
        {
            shlex::try_quote(&shown).map_or_else(|_| shown.clone(), |quoted| quoted.into_owned())
        } else {
            shown
        };
        out.push(quoted);
    }
    let line = out.join(" ");
    match line.char_indices().nth(MAX_LINE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Masks secrets in any text: in URLs, `--flag value` and `KEY=value`. High-entropy words stay, because ids of
/// units and containers have the same form.
pub fn text(text: &str) -> String {
    if may_hold_secret(text) { tokens(text, false) } else { text.to_owned() }
}

/// Whether [`text`] would leave it unchanged. Does not build the masked text if no secret is possible.
pub fn is_masked(text: &str) -> bool {
    !may_hold_secret(text) || tokens(text, false) == text
}

/// A cheap check before the thorough one: without any of these signs, [`tokens`] has nothing to mask.
fn may_hold_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    // A flag is at the start of a word.
    let begins = |at: usize| at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_graphic);
    let is_bearer = |at: usize| bytes.get(at..at + 6).is_some_and(|word| word.eq_ignore_ascii_case(b"bearer"));
    memchr2(b'=', b':', bytes).is_some() && !is_without_path(text)
        || memchr_iter(b'-', bytes).any(begins)
        || memchr2_iter(b'b', b'B', bytes).any(is_bearer)
}

/// Whether it is the kernel's name of a target without a path (`pipe:[4711]`). There are thousands of them.
fn is_without_path(text: &str) -> bool {
    let number = ["pipe:[", "socket:["]
        .iter()
        .find_map(|kind| text.strip_prefix(kind))
        .and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Masks the words of a text and keeps the white space between them.
fn tokens(text: &str, entropy: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.find(|character: char| !character.is_whitespace()).unwrap_or(rest.len());
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let word = &rest[..end];
        out.push_str(&token(word, entropy));
        rest = &rest[end..];
        if announces_secret(word) || is_secret_flag(word) {
            let space = rest.len() - rest.trim_start().len();
            out.push_str(&rest[..space]);
            rest = &rest[space..];
            let length = secret_length(word, rest);
            if length > 0 {
                out.push_str(MASK);
            }
            rest = &rest[length..];
        } else if token(word, false) != word
            && let Some(length) = open_quote(word).and_then(|quote| rest.find(quote))
        {
            // The value of `NAME="two words"` continues to its closing quote; the mask replaces all of it.
            rest = &rest[length..];
        }
    }
    out
}

/// Length of the secret after a word that announces it: a quoted value to its closing quote, an HTTP header to
/// the end of its line, a scheme (`Bearer`, `Basic` …) with the word after it, else one word.
fn secret_length(word: &str, rest: &str) -> usize {
    if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        return rest[1..].find(quote).map_or(rest.len(), |end| end + 2);
    }
    let lower = word.to_ascii_lowercase();
    if lower.ends_with("authorization:") || lower.ends_with("cookie:") {
        return rest.find(['\n', '"', '\'']).unwrap_or(rest.len());
    }
    rest.find(char::is_whitespace).unwrap_or(rest.len())
}

/// The quote that a word opens in its value and does not close.
fn open_quote(word: &str) -> Option<char> {
    let value = word.split_once(['=', ':'])?.1;
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    (value.matches(quote).count() == 1).then_some(quote)
}

/// Whether a word is a flag with a secret as its next word, or an HTTP authorization scheme.
fn announces_secret(word: &str) -> bool {
    let word = word.trim_matches(['\'', '"', '{', '[', ',']);
    if word.eq_ignore_ascii_case("bearer") {
        return true;
    }
    match word.strip_suffix(':') {
        // A key of JSON or YAML, or an HTTP header; its value follows after white space.
        Some(name) => names_secret(bare(name)),
        None => false,
    }
}

/// Whether a word is a flag with a secret as the next word of the command line.
fn is_secret_flag(word: &str) -> bool {
    word.starts_with('-') && !word.contains('=') && names_secret(bare(word))
}

/// Masks `NAME:SECRET` after a flag such as curl's `-u`. Other words after it stay (`python -u server.py`).
fn credentials(flag: &str, word: &str) -> Option<String> {
    let (name, secret) = word.split_once(':')?;
    let is_flag = matches!(flag, "-u" | "--user" | "--proxy-user");
    (is_flag && !secret.is_empty() && !word.contains('/')).then(|| format!("{name}:{MASK}"))
}

/// A name without the quotes, dashes and brackets around it.
fn bare(name: &str) -> &str {
    name.trim_matches(['-', '\'', '"', '{', '[', ','])
}

/// The words of a name, separated by punctuation or by a capital letter.
fn words_of(name: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(name.len() + 4);
    let mut was_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && was_lower {
            spaced.push('-');
        }
        was_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        spaced.push(character.to_ascii_lowercase());
    }
    spaced.split(['-', '_', '.', ':']).map(str::to_owned).collect()
}

fn names_secret(name: &str) -> bool {
    // Addresses have no letters.
    if !name.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return false;
    }
    let words = words_of(name);
    let joined = words.concat();
    let is_secret = words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
        || ["apikey", "password", "secret", "token"].iter().any(|word| joined.ends_with(word));
    is_secret && !words.last().is_some_and(|word| HARMLESS_ENDINGS.contains(&word.as_str()))
}

fn token(word: &str, entropy: bool) -> String {
    if let Some((name, value)) = word.split_once('=')
        && !value.is_empty()
        && !name.contains("://")
        && names_secret(bare(name))
    {
        let quote = value.chars().last().filter(|last| matches!(last, '\'' | '"'));
        return format!("{name}={MASK}{}", quote.map(String::from).unwrap_or_default());
    }
    if let Some((name, value)) = word.split_once(':')
        && !value.is_empty()
        && !value.starts_with("//")
        && names_secret(bare(name))
    {
        return format!("{name}:{MASK}");
    }
    if word.contains("://") {
        return url(word);
    }
    if let Some((name, value)) = word.split_once('=')
        && entropy
        && is_token(value)
    {
        return format!("{name}={MASK}");
    }
    // NAME:SECRET@HOST without a scheme.
    if let Some((credentials, host)) = word.rsplit_once('@')
        && let Some((name, secret)) = credentials.split_once(':')
        && !secret.is_empty()
        && !name.contains('/')
    {
        return format!("{name}:{MASK}@{host}");
    }
    if entropy && is_token(word) { MASK.to_owned() } else { word.to_owned() }
}

/// Whether a word has the form of a token: a known prefix, or at least 32 characters of mixed letters and
/// digits without a dot or slash.
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

/// A word that contains a URL: masks user information, query values and the fragment.
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

/// A path with query and fragment, as in a redirect: masks query values and the fragment.
fn reference(tail: &str) -> String {
    let (tail, fragment) = match tail.split_once('#') {
        Some((before, _)) => (before, format!("#{MASK}")),
        None => (tail, String::new()),
    };
    let Some((path, query)) = tail.split_once('?') else { return format!("{}{fragment}", path_of(tail)) };
    let masked: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some(("deep", value)) if value.len() <= 1 => format!("deep={value}"),
            Some((name, _)) => format!("{name}={MASK}"),
            None if pair.is_empty() => String::new(),
            None => MASK.to_owned(),
        })
        .collect();
    format!("{}?{}{fragment}", path_of(path), masked.join("&"))
}

/// A path: masks segments that are tokens (`/bot123456:SECRET/getMe`, hooks).
fn path_of(path: &str) -> String {
    let segment = |part: &str| {
        let keyed = part.len() >= 20 && part.contains(':');
        if keyed || is_token(part) { MASK.to_owned() } else { part.to_owned() }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
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
            ("x --authToken abc --accessToken=def", "x --authToken *** --accessToken=***"),
            ("x --token=https://hook/abc SLACK_TOKEN=xapp://abc", "x --token=*** SLACK_TOKEN=***"),
            ("curl -u user:abc redis:abc@h", "curl -u user:*** redis:***@h"),
            (
                "x https://api.telegram.org/bot123456789:AAabcdefghijklmnop/getMe",
                "x https://api.telegram.org/***/getMe",
            ),
            ("sh -c 'x --password \"two words\" y'", "sh -c 'x --password *** y'"),
            ("x 0123456789abcdef0123456789abcdef", "x ***"),
            ("x '{\"API_KEY\": \"abc\", \"my-token\":\"d\"}'", "x '{\"API_KEY\": ***, \"my-token\":***'"),
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
        for given in [
            "curl -H 'Authorization: Basic canary'",
            "curl -H 'authorization: bearer canary'",
            "curl -H 'Authorization: token canary'",
            "curl -H Authorization:canary",
            "curl -H 'Cookie: a=1; sid=canary'",
            "x '{\"api_key\":\"a b canary\"}'",
            "x '{\"api_key\": \"a b canary\"}'",
            "sh -c 'MY_TOKEN=\"a canary\" x'",
        ] {
            assert!(!line(given).contains("canary"), "{}", line(given));
        }
    }

    #[test]
    fn does_not_mask_text_without_secrets() {
        for given in [
            "python3 /home/h/hermes-webui/server.py",
            "hermes serve --ssh-session-token-file /run/x --max-tokens 100 --keepalive 5",
            "hermes dashboard --host 127.0.0.1 --port 9119 --no-open",
            "monkey=1 x",
            "python3 -u /srv/hermes-webui/server.py",
        ] {
            assert_eq!(line(given), given);
        }
        assert_eq!(text("unit 0123456789abcdef0123456789abcdef"), "unit 0123456789abcdef0123456789abcdef");
    }

    proptest::proptest! {
        #[test]
        fn the_quick_check_finds_every_secret(given in "([a-zA-Z=:@/?#'\"{,.\u{a0} -]|[bB]earer|[tT]oken|pipe:\\[|socket:\\[|1\\]|--?api[-_]key|x){0,12}") {
            proptest::prop_assert!(may_hold_secret(&given) || tokens(&given, false) == given);
            proptest::prop_assert_eq!(is_masked(&given), text(&given) == given);
        }

        #[test]
        fn never_panics_and_keeps_no_flagged_value(value in "[a-z]{12}") {
            let shown = line(&format!("x --secret {value} MY_TOKEN={value} http://u:{value}@h/?q={value}"));
            proptest::prop_assert!(!shown.contains(&value));
            let _ = text(&value);
        }
    }
}
