//! GBNF (`root ::= "yes" | "no"`), the notation of llama.cpp and XGrammar -> Lark. Rules that do not refer to
//! themselves become terminals, which llguidance matches with automata; the others become rules.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use serde_json::Value;

use crate::ffi::Failure;

const MAX_RULES: usize = 1_000;

/// A string of Lark; its escapes are JSON's.
pub fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

pub fn to_lark(text: &str) -> Result<String, Failure> {
    let rules = Parser::new(text).rules()?;
    let index: HashMap<&str, usize> =
        rules.iter().enumerate().map(|(i, rule)| (rule.name.as_str(), i)).collect();
    let Some(root) = index.get("root") else {
        return Err(Failure::invalid("the grammar has no rule 'root'"));
    };
    for rule in &rules {
        if let Some(missing) = rule.uses.iter().find(|name| !index.contains_key(name.as_str())) {
            return Err(Failure::invalid(format!("the grammar's rule '{missing}' is not defined")));
        }
    }
    let uses: Vec<Vec<usize>> =
        rules.iter().map(|rule| rule.uses.iter().map(|name| index[name.as_str()]).collect()).collect();
    let recursive = recursive_rules(&uses);
    let lark_name =
        |rule: usize| if recursive[rule] { format!("rule_{rule}") } else { format!("TERMINAL_{rule}") };
    let mut lark = format!("start: {}\n", lark_name(*root));
    for (number, rule) in rules.iter().enumerate() {
        let _ = write!(lark, "{}:", lark_name(number));
        for piece in &rule.body {
            match piece {
                Piece::Lark(text) => lark.push_str(text),
                Piece::Rule(name) => lark.push_str(&lark_name(index[name.as_str()])),
            }
            lark.push(' ');
        }
        lark.push('\n');
    }
    Ok(lark)
}

/// Rules from which a rule that is part of a cycle can be reached.
fn recursive_rules(uses: &[Vec<usize>]) -> Vec<bool> {
    // A rule is regular once all rules that it uses are; what never gets there is recursive.
    let mut regular = vec![false; uses.len()];
    let mut missing: Vec<usize> = uses.iter().map(|used| used.iter().collect::<HashSet<_>>().len()).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); uses.len()];
    for (rule, used) in uses.iter().enumerate() {
        for &other in used.iter().collect::<HashSet<_>>() {
            users[other].push(rule);
        }
    }
    let mut ready: Vec<usize> = (0..uses.len()).filter(|&rule| missing[rule] == 0).collect();
    while let Some(rule) = ready.pop() {
        regular[rule] = true;
        for &user in &users[rule] {
            missing[user] -= 1;
            if missing[user] == 0 {
                ready.push(user);
            }
        }
    }
    regular.into_iter().map(|is_regular| !is_regular).collect()
}

enum Piece {
    /// An operator or an atom, already Lark.
    Lark(String),
    Rule(String),
}

struct Rule {
    name: String,
    body: Vec<Piece>,
    uses: Vec<String>,
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser { rest: text, line: 1 }
    }

    fn rules(mut self) -> Result<Vec<Rule>, Failure> {
        let mut rules: Vec<Rule> = Vec::new();
        let mut names = HashSet::new();
        self.skip_blanks();
        while !self.rest.is_empty() {
            let name = self.name().ok_or_else(|| self.error("a rule's name is missing"))?;
            self.skip_blanks();
            if !self.take("::=") {
                return Err(self.error("'::=' is missing"));
            }
            if rules.len() == MAX_RULES {
                return Err(self.error(&format!("there are more than {MAX_RULES} rules")));
            }
            if !names.insert(name.clone()) {
                return Err(self.error(&format!("the rule '{name}' is defined twice")));
            }
            rules.push(self.rule(name)?);
        }
        Ok(rules)
    }

    fn rule(&mut self, name: String) -> Result<Rule, Failure> {
        let mut rule = Rule { name, body: Vec::new(), uses: Vec::new() };
        loop {
            self.skip_blanks();
            if self.rest.is_empty() || self.at_next_rule() {
                return Ok(rule);
            }
            let piece = self.piece()?;
            if let Piece::Rule(used) = &piece {
                rule.uses.push(used.clone());
            }
            rule.body.push(piece);
        }
    }

    fn at_next_rule(&self) -> bool {
        let mut ahead = Parser { rest: self.rest, line: 0 };
        ahead.name().is_some() && {
            ahead.skip_blanks();
            ahead.rest.starts_with("::=")
        }
    }

    fn piece(&mut self) -> Result<Piece, Failure> {
        let next = self.rest.chars().next().unwrap_or('\0');
        match next {
            '"' => Ok(Piece::Lark(literal(&self.quoted()?))),
            '[' => Ok(Piece::Lark(self.class()?)),
            '.' => {
                self.advance(1);
                Ok(Piece::Lark("/(?s:.)/".to_owned()))
            }
            '|' | '(' | ')' | '*' | '+' | '?' => {
                self.advance(1);
                Ok(Piece::Lark(next.to_string()))
            }
            '{' => self.repetition(),
            _ => match self.name() {
                Some(name) => Ok(Piece::Rule(name)),
                None => Err(self.error(&format!("'{next}' is unexpected"))),
            },
        }
    }

    fn repetition(&mut self) -> Result<Piece, Failure> {
        let end = self.rest.find('}').ok_or_else(|| self.error("'}' is missing"))?;
        let range = &self.rest[1..end];
        if range.is_empty() || !range.chars().all(|c| c.is_ascii_digit() || c == ',' || c == ' ') {
            return Err(self.error(&format!("'{{{range}}}' is no repetition")));
        }
        let piece = Piece::Lark(format!("{{{}}}", range.replace(' ', "")));
        self.advance(end + 1);
        Ok(piece)
    }

    fn quoted(&mut self) -> Result<String, Failure> {
        self.advance(1);
        let mut text = String::new();
        loop {
            match self.rest.chars().next() {
                None | Some('\n') => return Err(self.error("a string does not end")),
                Some('"') => {
                    self.advance(1);
                    return Ok(text);
                }
                Some(_) => text.push(self.character()?),
            }
        }
    }

    /// A set of characters, as a regular expression.
    fn class(&mut self) -> Result<String, Failure> {
        self.advance(1);
        let mut regex = String::from("/[");
        if self.take("^") {
            regex.push('^');
        }
        loop {
            match self.rest.chars().next() {
                None | Some('\n') => return Err(self.error("a character class does not end")),
                Some(']') => {
                    self.advance(1);
                    regex.push_str("]/");
                    return Ok(regex);
                }
                Some('-') => {
                    self.advance(1);
                    // A range, or itself at an end.
                    let is_range =
                        !regex.ends_with('[') && !regex.ends_with('^') && !self.rest.starts_with(']');
                    regex.push_str(if is_range { "-" } else { "\\-" });
                }
                Some(_) => {
                    let character = self.character()?;
                    let _ = write!(regex, "\\u{{{:x}}}", character as u32);
                }
            }
        }
    }

    fn character(&mut self) -> Result<char, Failure> {
        let character = self.rest.chars().next().unwrap_or('\0');
        self.advance(character.len_utf8());
        if character != '\\' {
            return Ok(character);
        }
        let escape = self.rest.chars().next().ok_or_else(|| self.error("an escape does not end"))?;
        self.advance(escape.len_utf8());
        match escape {
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'x' => self.hex(2),
            'u' => self.hex(4),
            'U' => self.hex(8),
            '"' | '\\' | '[' | ']' | '-' | '^' | '/' | '\'' => Ok(escape),
            _ => Err(self.error(&format!("the escape '\\{escape}' is unknown"))),
        }
    }

    fn hex(&mut self, digits: usize) -> Result<char, Failure> {
        let code = self.rest.get(..digits).and_then(|text| u32::from_str_radix(text, 16).ok());
        let character =
            code.and_then(char::from_u32).ok_or_else(|| self.error("an escape names no character"))?;
        self.advance(digits);
        Ok(character)
    }

    fn name(&mut self) -> Option<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let end = self.rest.find(|c: char| !is_part(c)).unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return None;
        }
        let name = name.to_owned();
        self.advance(end);
        Some(name)
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest.starts_with(text);
        if found {
            self.advance(text.len());
        }
        found
    }

    fn skip_blanks(&mut self) {
        loop {
            let trimmed = self.rest.trim_start();
            self.advance(self.rest.len() - trimmed.len());
            if !self.rest.starts_with('#') {
                return;
            }
            self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }

    fn error(&self, what: &str) -> Failure {
        Failure::invalid(format!("line {} of the grammar: {what}", self.line))
    }
}
