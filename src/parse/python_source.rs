//! Python source text: the lock that a line takes, and the locks with a block around the line.
//!
//! Logical lines, indentation and brackets are parsed as the language defines them (Python reference, "Lexical
//! analysis"). Expressions are compared as text. Nothing is executed, and ambiguous cases are not guessed.

mod lines;

use lines::{Logical, Token};

/// An expression that is used as a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expression {
    /// Text, without unnecessary spaces.
    pub text: String,
    /// Line where it begins.
    pub line: u32,
}

/// The locks that a line takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// The lock that is taken. Several if the line alone does not show which: `with a, b:`.
    pub expressions: Vec<Expression>,
    /// Locks that the same statement took before.
    pub before: Vec<Expression>,
}

/// A function as its `def` declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Names of its parameters in order, including `self`; stars are left out.
    pub parameters: Vec<String>,
    /// Line of its `def`.
    pub line: u32,
    /// The class of a method.
    pub class: Option<String>,
}

/// A place that passes arguments to a function: a call of it, or of an object that will call it (a thread, a
/// pool).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The argument.
    pub argument: String,
    /// `name="..."` in the same call: this is how a thread gets its name.
    pub name: Option<String>,
    /// Line of the call.
    pub line: u32,
}

/// One file.
#[derive(Clone, Debug, Default)]
pub struct Source {
    lines: Vec<Logical>,
}

/// Parses the text of a file. Any text is accepted; text that is not Python gives lines without locks.
pub fn parse(text: &str) -> Source {
    Source { lines: lines::of(text) }
}

impl Source {
    fn at(&self, line: u32) -> Option<usize> {
        let after = self.lines.partition_point(|logical| logical.first <= line);
        let found = after.checked_sub(1)?;
        (self.lines.get(found)?.last >= line).then_some(found)
    }

    /// Heads of the blocks around a logical line, innermost first.
    fn around(&self, at: usize) -> impl Iterator<Item = usize> {
        let mut indent = self.lines.get(at).map_or(0, |logical| logical.indent);
        (0..at).rev().filter(move |before| {
            let Some(logical) = self.lines.get(*before) else { return false };
            let is_outer = logical.indent < indent;
            if is_outer {
                indent = logical.indent;
            }
            is_outer && logical.is_head()
        })
    }

    /// The function that contains a line in its body.
    pub fn function(&self, line: u32) -> Option<Function> {
        let at = self.at(line)?;
        let is_def = |at: &usize| self.lines.get(*at).is_some_and(|logical| logical.keyword() == "def");
        // A default argument or decorator is evaluated outside of the function; its line is that of the head.
        let def = self.around(at).find(is_def)?;
        let head = self.lines.get(def)?;
        let start = head.tokens.iter().position(|token| token.text == "def")?;
        let name = head.tokens.get(start + 1).filter(|token| token.is_name)?;
        let open = head.tokens.iter().position(|token| token.text == "(")?;
        let parameters = arguments(head.tokens.get(open + 1..)?)
            .into_iter()
            .filter_map(|parameter| parameter.iter().find(|token| token.is_name).map(|token| token.text.clone()))
            .collect();
        let class = self.around(def).find_map(|at| {
            let logical = self.lines.get(at)?;
            (logical.keyword() == "class").then(|| logical.tokens.get(1).map(|token| token.text.clone()))?
        });
        Some(Function { name: name.text.clone(), parameters, line: head.first, class })
    }

    /// The lock that a line takes: `with LOCK:` or `LOCK.acquire(...)`. An `async with` does not lock between
    /// threads.
    pub fn taking(&self, line: u32) -> Option<Taking> {
        let logical = self.lines.get(self.at(line)?)?;
        if logical.keyword() == "with" {
            let items = with_items(&logical.tokens);
            let ends = items.iter().skip(1).map(|item| item.line).chain(std::iter::once(u32::MAX));
            // An item on a line of its own is identified by its line; items that share a line are not.
            let on_line: Vec<Expression> = items
                .iter()
                .zip(ends)
                .filter(|(item, next)| item.line <= line && (line < *next || item.line == line))
                .map(|(item, _)| item.clone())
                .collect();
            let first = on_line.first()?.clone();
            let before = items.into_iter().take_while(|item| *item != first).collect();
            return Some(Taking { expressions: on_line, before });
        }
        let acquires: Vec<Expression> = calls_of(&logical.tokens, "acquire");
        (!acquires.is_empty()).then_some(Taking { expressions: acquires, before: Vec::new() })
    }

    /// Whether the line calls `.wait(...)` or `.wait_for(...)` of an object.
    pub fn waits_for_condition(&self, line: u32) -> bool {
        let Some(logical) = self.at(line).and_then(|at| self.lines.get(at)) else { return false };
        ["wait", "wait_for"].iter().any(|name| !calls_of(&logical.tokens, name).is_empty())
    }

    /// The locks with a block around a line, within its own function, innermost first: `with LOCK:`, and
    /// `LOCK.acquire()` right before a `try:` with a release in its `finally:`.
    pub fn inside(&self, line: u32) -> Vec<Expression> {
        let Some(at) = self.at(line) else { return Vec::new() };
        let mut found = Vec::new();
        for head in self.around(at) {
            let Some(logical) = self.lines.get(head) else { continue };
            match logical.keyword() {
                // The code of a function that is defined inside a block does not run within that block.
                "def" | "class" => break,
                "with" => found.extend(with_items(&logical.tokens).into_iter().rev()),
                "try" => found.extend(self.acquired_before(head)),
                _ => {}
            }
        }
        found
    }

    fn acquired_before(&self, head: usize) -> Option<Expression> {
        let indent = self.lines.get(head)?.indent;
        let before = self.lines.get(head.checked_sub(1)?).filter(|logical| logical.indent == indent)?;
        let [lock] = <[Expression; 1]>::try_from(calls_of(&before.tokens, "acquire")).ok()?;
        let same_block = self.lines.get(head + 1..)?.iter();
        let mut at_last = same_block
            .skip_while(|logical| {
                logical.indent > indent || (logical.indent == indent && logical.keyword() != "finally")
            })
            .take(1)
            .filter(|logical| logical.indent == indent);
        let finally = at_last.next()?;
        let after = self.lines.iter().skip_while(|logical| logical.first <= finally.first);
        let mut body = after.take_while(|logical| logical.indent > indent);
        body.any(|logical| calls_of(&logical.tokens, "release").iter().any(|freed| freed.text == lock.text))
            .then_some(lock)
    }

    /// The value of a name that is assigned only once in the function around a line; `None` if it is not
    /// assigned there. `Some(None)` if it is assigned several times, or the value is more than a dotted name.
    pub fn assigned(&self, line: u32, name: &str) -> Option<Option<String>> {
        let at = self.at(line)?;
        let def =
            self.around(at).find(|at| self.lines.get(*at).is_some_and(|logical| logical.keyword() == "def"))?;
        let head = self.lines.get(def)?;
        let body = self.lines.get(def + 1..)?.iter().take_while(|logical| logical.indent > head.indent);
        let mut values = Vec::new();
        for logical in body {
            let tokens = &logical.tokens;
            if matches!(logical.keyword(), "global" | "nonlocal") && tokens.iter().any(|token| token.text == name) {
                return None;
            }
            for (index, _) in tokens.iter().enumerate().filter(|(_, token)| token.is_name && token.text == name) {
                let text =
                    |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |token| token.text.as_str());
                let (before, after) = (text(index.checked_sub(1)), text(Some(index + 1)));
                if index == 0 && after == "=" && text(Some(2)) != "=" {
                    values.push(tokens.get(2..).map(joined).filter(|value| is_dotted(value)));
                } else if before == "as"
                    || (logical.keyword() == "for" && index == 1)
                    || (index == 0 && after == ":" && bare(tokens, "=").is_some())
                {
                    values.push(None);
                }
            }
        }
        match values.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            _ => Some(None),
        }
    }

    /// The argument that the call of a function on this line passes for a parameter.
    pub fn argument(&self, line: u32, function: &Function, parameter: &str) -> Option<String> {
        let logical = self.lines.get(self.at(line)?)?;
        let is_call =
            |pair: &[Token]| matches!(pair, [name, open] if name.text == function.name && open.text == "(");
        let mut calls = logical.tokens.windows(2).enumerate().filter(|(_, pair)| is_call(pair)).map(|(at, _)| at);
        // With two calls on one line it is unknown which one runs.
        let (Some(at), None) = (calls.next(), calls.next()) else { return None };
        // `self.f(x)` passes `self` by the dot.
        let by_dot = at > 0 && logical.tokens.get(at - 1).is_some_and(|token| token.text == ".");
        let skipped = usize::from(by_dot && function.class.is_some());
        let position = function.parameters.iter().position(|known| known == parameter)?.checked_sub(skipped)?;
        chosen(&arguments(logical.tokens.get(at + 2..)?), position, parameter)
    }

    /// The arguments for a parameter wherever the function itself is passed on to be called later:
    /// `Thread(target=f, args=(a, b), name="n")`, `submit(f, a, b)`, `background(f, a, b)`.
    pub fn given(&self, function: &Function, parameter: &str) -> Vec<Given> {
        let Some(position) = function.parameters.iter().position(|known| known == parameter) else {
            return Vec::new();
        };
        // A method is passed on with its object: `self.f`.
        let position = position.checked_sub(usize::from(function.class.is_some()));
        let Some(position) = position else { return Vec::new() };
        let mut found = Vec::new();
        for logical in &self.lines {
            for (open, _) in logical.tokens.iter().enumerate().filter(|(_, token)| token.text == "(") {
                let list = arguments(logical.tokens.get(open + 1..).unwrap_or_default());
                let is_function = |argument: &[Token]| {
                    let argument = without_keyword(argument).1;
                    argument.last().is_some_and(|token| token.text == function.name) && is_dotted(&joined(argument))
                };
                let Some(at) = list.iter().position(|argument| is_function(argument)) else { continue };
                let keyword = |name: &str| {
                    list.iter()
                        .map(|argument| without_keyword(argument))
                        .find(|(key, _)| *key == Some(name))
                        .map(|(_, value)| value)
                };
                let argument = match keyword("args") {
                    Some([open, inner @ ..]) if matches!(open.text.as_str(), "(" | "[") => {
                        chosen(&arguments(inner), position, parameter)
                    }
                    Some(_) => None,
                    None => chosen(list.get(at + 1..).unwrap_or_default(), position, parameter),
                };
                let name = keyword("name").and_then(literal);
                let line = logical.tokens.get(open).map_or(logical.first, |token| token.line);
                found.extend(argument.map(|argument| Given { argument, name, line }));
            }
        }
        found
    }
}

/// The argument for a parameter: by its name, else by its position among the arguments before the first
/// keyword.
fn chosen(list: &[&[Token]], position: usize, parameter: &str) -> Option<String> {
    let named = list.iter().map(|argument| without_keyword(argument)).find(|(key, _)| *key == Some(parameter));
    let text = match named {
        Some((_, value)) => joined(value),
        None => {
            let before = list.get(..=position)?;
            // After a star the positions are unknown.
            let is_plain = |argument: &&[Token]| {
                without_keyword(argument).0.is_none() && argument.first().is_some_and(|token| token.text != "*")
            };
            before.iter().all(is_plain).then(|| before.last().map(|argument| joined(argument)))??
        }
    };
    (!text.is_empty()).then_some(text)
}

/// Splits `name=value`.
fn without_keyword(argument: &[Token]) -> (Option<&str>, &[Token]) {
    match argument {
        [name, equals, value @ ..] if name.is_name && equals.text == "=" => (Some(&name.text), value),
        _ => (None, argument),
    }
}

/// The text of a plain string.
fn literal(value: &[Token]) -> Option<String> {
    let [only] = value else { return None };
    let inner = only.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.or_else(|| only.text.strip_prefix('\'')?.strip_suffix('\'')).map(str::to_owned)
}

/// Arguments up to the bracket that closes the list, at its own depth.
fn arguments(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_usize;
    let closing = tokens.iter().position(|token| {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 0 => return true,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        false
    });
    split(tokens.get(..closing.unwrap_or(tokens.len())).unwrap_or_default())
}

/// Parts between the commas outside of brackets; empty parts are left out.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_usize;
    tokens
        .split(|token| {
            depth = deeper(depth, token);
            depth == 0 && token.text == ","
        })
        .filter(|part| !part.is_empty())
        .collect()
}

/// Bracket depth after a token.
fn deeper(depth: usize, token: &Token) -> usize {
    match token.text.as_str() {
        "(" | "[" | "{" => depth + 1,
        ")" | "]" | "}" => depth.saturating_sub(1),
        _ => depth,
    }
}

/// Position of a word or sign outside of brackets.
fn bare(tokens: &[Token], text: &str) -> Option<usize> {
    let mut depth = 0;
    tokens.iter().position(|token| {
        depth = deeper(depth, token);
        depth == 0 && token.text == text
    })
}

/// The expressions of a `with` head, in the order in which they are entered.
fn with_items(tokens: &[Token]) -> Vec<Expression> {
    let end = bare(tokens, ":").unwrap_or(tokens.len());
    let mut items = tokens.get(1..end).unwrap_or_default();
    // Brackets around all items only group them.
    if items.first().is_some_and(|token| token.text == "(")
        && bare(items, ")") == Some(items.len() - 1)
        && let Some(inner) = items.get(1..items.len() - 1)
    {
        items = inner;
    }
    split(items)
        .into_iter()
        .filter_map(|item| {
            let item = item.get(..bare(item, "as").unwrap_or(item.len()))?;
            Some(Expression { text: joined(item), line: item.first()?.line })
        })
        .collect()
}

/// The object of each call of a method: `a.b` in `a.b.acquire()`.
fn calls_of(tokens: &[Token], method: &str) -> Vec<Expression> {
    let is_call = |at: usize| {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        text(at) == "." && text(at + 1) == method && text(at + 2) == "("
    };
    (0..tokens.len())
        .filter(|at| is_call(*at))
        .filter_map(|dot| {
            let start = primary_before(tokens, dot)?;
            let of = tokens.get(start..dot)?;
            Some(Expression { text: joined(of), line: of.first()?.line })
        })
        .collect()
}

/// Start of the name, call or index that ends before a dot.
fn primary_before(tokens: &[Token], dot: usize) -> Option<usize> {
    let mut start = dot;
    loop {
        let at = start.checked_sub(1)?;
        let token = tokens.get(at)?;
        if matches!(token.text.as_str(), ")" | "]") {
            let mut depth = 0_usize;
            let open = (0..=at).rev().find(|at| {
                match tokens.get(*at).map_or("", |token| token.text.as_str()) {
                    ")" | "]" | "}" => depth += 1,
                    "(" | "[" | "{" => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth == 0
            })?;
            // A name, call or index directly before it is part of it.
            match open.checked_sub(1).and_then(|before| tokens.get(before)) {
                Some(before) if is_operand(before) => {
                    start = open;
                    continue;
                }
                _ => return Some(open),
            }
        }
        if !token.is_name {
            return None;
        }
        match at.checked_sub(1).and_then(|before| tokens.get(before)) {
            Some(before) if before.text == "." => start = at - 1,
            _ => return Some(at),
        }
    }
}

/// Whether a token can be called or indexed; keywords cannot.
fn is_operand(token: &Token) -> bool {
    const OTHERS: &[&str] = &[
        "not", "and", "or", "if", "elif", "while", "in", "is", "return", "assert", "yield", "await", "else",
        "lambda",
    ];
    (token.is_name && !OTHERS.contains(&token.text.as_str())) || matches!(token.text.as_str(), ")" | "]")
}

/// Tokens as one text, with spaces only between words.
fn joined(tokens: &[Token]) -> String {
    let mut out = String::new();
    let mut after_word = false;
    for token in tokens {
        let is_word = token.text.chars().next().is_some_and(|first| first.is_alphanumeric() || first == '_');
        if out.ends_with(',') || (after_word && is_word) || (token.is_name && out.ends_with(')')) {
            out.push(' ');
        }
        out.push_str(&token.text);
        after_word = is_word;
    }
    out
}

/// `name`, `name.name`, `name.name.name`.
pub fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        part.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && part.chars().all(|character| character.is_alphanumeric() || character == '_')
    })
}

#[cfg(test)]
mod tests;
