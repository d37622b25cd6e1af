//! Logical lines, indentation and brackets, as the language defines them (Python reference, "Lexical analysis").

/// Tab width (Python reference, "Indentation").
const TAB: usize = 8;
/// Maximum number of logical lines per file.
const MAX_LINES: usize = 200_000;

/// One word, sign or string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// Line where it begins, counted from 1.
    pub line: u32,
    pub is_name: bool,
}

/// One statement, or the head of a block.
#[derive(Clone, Debug, Default)]
pub struct Logical {
    pub first: u32,
    pub last: u32,
    pub indent: usize,
    pub tokens: Vec<Token>,
}

impl Logical {
    /// Its first word; for `async def` the second, since the difference does not matter here.
    pub fn keyword(&self) -> &str {
        match self.words() {
            ("async", "def") => "def",
            (first, _) => first,
        }
    }

    pub fn words(&self) -> (&str, &str) {
        let word = |at: usize| self.tokens.get(at).filter(|token| token.is_name).map_or("", |token| &token.text);
        (word(0), word(1))
    }

    /// Whether it is the head of an indented block: nothing follows its colon.
    pub fn is_head(&self) -> bool {
        self.tokens.last().is_some_and(|token| token.text == ":")
    }
}

/// The logical lines of a text.
pub fn of(text: &str) -> Vec<Logical> {
    Reading::new(text).all()
}

/// Reads a text character by character.
struct Reading<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    lines: Vec<Logical>,
    current: Logical,
    depth: usize,
}

impl<'a> Reading<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { rest: text.chars().peekable(), line: 1, lines: Vec::new(), current: Logical::default(), depth: 0 }
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        self.line += u32::from(character == '\n');
        Some(character)
    }

    fn next_if(&mut self, is_so: impl Fn(char) -> bool) -> Option<char> {
        let next = self.rest.peek().copied().filter(|next| is_so(*next));
        next.and_then(|_| self.next())
    }

    fn all(mut self) -> Vec<Logical> {
        let mut column = 0;
        while self.lines.len() < MAX_LINES
            && let Some(first) = self.rest.peek().copied()
        {
            let line = self.line;
            match first {
                '\n' => {
                    self.next();
                    column = 0;
                    if self.depth == 0 {
                        self.end();
                    }
                }
                ' ' | '\t' | '\u{c}' | '\r' => {
                    self.next();
                    column = match first {
                        '\t' => (column / TAB + 1) * TAB,
                        '\u{c}' => 0,
                        _ => column + 1,
                    };
                }
                '#' => while self.next_if(|character| character != '\n').is_some() {},
                '\\' => {
                    // At the end of a line a backslash joins the next line to this one.
                    self.next();
                    self.next_if(|character| character == '\r');
                    self.next_if(|character| character == '\n');
                }
                '"' | '\'' => {
                    let text = self.string(String::new());
                    self.add(text, line, column, false);
                }
                _ if first.is_alphanumeric() || first == '_' => {
                    let mut word = String::new();
                    while let Some(next) = self.next_if(|next| next.is_alphanumeric() || next == '_') {
                        word.push(next);
                    }
                    let is_prefix = word.len() <= 2 && word.chars().all(|letter| "rRbBuUfFtT".contains(letter));
                    if is_prefix && self.rest.peek().is_some_and(|next| matches!(next, '"' | '\'')) {
                        let text = self.string(word);
                        self.add(text, line, column, false);
                    } else {
                        self.add(word, line, column, !first.is_numeric());
                    }
                }
                sign => {
                    self.next();
                    match sign {
                        '(' | '[' | '{' => self.depth += 1,
                        ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    self.add(sign.to_string(), line, column, false);
                }
            }
        }
        self.end();
        self.lines
    }

    fn add(&mut self, text: String, line: u32, column: usize, is_name: bool) {
        if self.current.tokens.is_empty() {
            self.current.first = line;
            self.current.indent = column;
        }
        self.current.last = self.line;
        self.current.tokens.push(Token { text, line, is_name });
    }

    fn end(&mut self) {
        let done = std::mem::take(&mut self.current);
        if !done.tokens.is_empty() {
            self.lines.push(done);
        }
    }

    /// A string with its quotes. An unclosed string ends with its line, or with the text if it has three
    /// quotes.
    fn string(&mut self, mut text: String) -> String {
        let Some(quote) = self.next() else { return text };
        text.push(quote);
        let mut quotes = 1;
        while quotes < 3 && self.next_if(|next| next == quote).is_some() {
            text.push(quote);
            quotes += 1;
        }
        if quotes == 2 {
            return text;
        }
        let mut closing = 0;
        while let Some(next) = self.next_if(|next| quotes == 3 || next != '\n') {
            text.push(next);
            if next == '\\' {
                text.extend(self.next());
                closing = 0;
            } else if next == quote {
                closing += 1;
                if closing == quotes {
                    break;
                }
            } else {
                closing = 0;
            }
        }
        text
    }
}
