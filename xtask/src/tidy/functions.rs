//! Rules about Rust code, from its syntax: the length of functions, and banned forms.
//!
//! A function longer than the limit stands in the ratchet file with its exact length. The list
//! only shrinks: a function that grew, shrank or went makes tidy ask for the line to be changed or
//! removed, and a new long one is refused.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, Item, Meta, Pat, Signature, Stmt};

use super::Finding;
use super::source::Source;

/// Lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Attributes that hide a failing test.
const BANNED_ATTRIBUTES: &[&str] = &["ignore", "should_panic"];

/// Macros that stand for code not yet written or left over. Clippy refuses them in the workspace;
/// the probes are outside of it.
const BANNED_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

pub(super) fn check(sources: &[Source], ratchet_path: &str) -> Vec<Finding> {
    let ratchet_source = sources.iter().find(|source| source.path == ratchet_path);
    let mut ratchet = ratchet_source.map(ratchet_entries).unwrap_or_default();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        match syn::parse_file(&source.text) {
            Ok(file) => {
                let mut visitor = Visitor::new(source);
                visitor.visit_file(&file);
                findings.append(&mut visitor.findings);
                findings.extend(visitor.too_long(&mut ratchet));
            }
            Err(error) => {
                let line = error.span().start().line;
                findings.push(Finding::new(source, line, format!("cannot be parsed: {error}")));
            }
        }
    }
    if let Some(source) = ratchet_source {
        findings.extend(ratchet.into_iter().map(|((path, name), entry)| {
            Finding::new(source, entry.line, format!("remove: {path} {name} is not that long now"))
        }));
    }
    findings
}

/// Path and name of a function.
type FunctionKey = (String, String);

/// A line of the ratchet file.
struct RatchetEntry {
    line: usize,
    lines_max: usize,
}

/// Reads `path name lines` per line; blank lines and `#` comments are left out.
fn ratchet_entries(source: &Source) -> BTreeMap<FunctionKey, RatchetEntry> {
    let mut entries = BTreeMap::new();
    for (index, line) in source.text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [path, name, lines] = words.as_slice()
            && let Ok(lines_max) = lines.parse()
        {
            let key = ((*path).to_owned(), (*name).to_owned());
            entries.insert(key, RatchetEntry { line: index + 1, lines_max });
        }
    }
    entries
}

/// A function with its place and length.
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

struct Visitor<'a> {
    source: &'a Source,
    /// Names of the type or trait that functions belong to, outermost first.
    owners: Vec<String>,
    functions: Vec<Function>,
    findings: Vec<Finding>,
}

impl<'a> Visitor<'a> {
    const fn new(source: &'a Source) -> Self {
        Self { source, owners: Vec::new(), functions: Vec::new(), findings: Vec::new() }
    }

    fn find(&mut self, line: usize, message: String) {
        self.findings.push(Finding::new(self.source, line, message));
    }

    fn measure(&mut self, signature: &Signature, block: &Block) {
        let line = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line - line + 1;
        let mut name = self.owners.join("::");
        if !name.is_empty() {
            name.push_str("::");
        }
        name.push_str(&signature.ident.to_string());
        self.functions.push(Function { name, line, lines });
    }

    /// The functions over the limit that `ratchet` does not know; takes out of it those it does.
    fn too_long(&self, ratchet: &mut BTreeMap<FunctionKey, RatchetEntry>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for function in self.functions.iter().filter(|f| f.lines > FUNCTION_LINES_MAX) {
            let Function { name, line, lines } = function;
            let message = match ratchet.remove(&(self.source.path.clone(), name.clone())) {
                None => format!("`{name}` has {lines} lines; the limit is {FUNCTION_LINES_MAX}"),
                Some(entry) if *lines > entry.lines_max => {
                    format!("`{name}` grew from {} lines to {lines}", entry.lines_max)
                }
                Some(entry) if *lines < entry.lines_max => {
                    format!("`{name}` shrank to {lines} lines: lower its line in the ratchet")
                }
                Some(_) => continue,
            };
            findings.push(Finding::new(self.source, *line, message));
        }
        findings
    }

    /// Finds a `matches!` whose value nobody looks at: it was meant to be asserted.
    fn refuse_dropped_matches(&mut self, statement: &Stmt) {
        let dropped = match statement {
            Stmt::Macro(statement) => statement.semi_token.is_some().then_some(&statement.mac),
            Stmt::Local(local) => match (&local.pat, &local.init) {
                (Pat::Wild(_), Some(init)) => match &*init.expr {
                    Expr::Macro(expression) => Some(&expression.mac),
                    _ => None,
                },
                _ => None,
            },
            Stmt::Item(_) | Stmt::Expr(..) => None,
        };
        if let Some(mac) = dropped
            && mac.path.is_ident("matches")
        {
            self.find(mac.span().start().line, "the value of `matches!` is dropped".to_owned());
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item(&mut self, item: &'ast Item) {
        let owner = match item {
            Item::Impl(item) => match &*item.self_ty {
                syn::Type::Path(path) => path.path.segments.last().map(|s| s.ident.to_string()),
                _ => None,
            },
            Item::Trait(item) => Some(item.ident.to_string()),
            Item::Mod(item) => Some(item.ident.to_string()),
            _ => None,
        };
        let depth = self.owners.len();
        self.owners.extend(owner);
        visit::visit_item(self, item);
        self.owners.truncate(depth);
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        self.refuse_dropped_matches(statement);
        visit::visit_stmt(self, statement);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        for name in BANNED_ATTRIBUTES {
            let conditional = match &attribute.meta {
                Meta::List(list) if attribute.path().is_ident("cfg_attr") => {
                    holds_word(list.tokens.clone(), name)
                }
                _ => false,
            };
            if conditional || attribute.path().is_ident(name) {
                let line = attribute.span().start().line;
                self.find(line, format!("`#[{name}]` hides what a test should show"));
            }
        }
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        for name in BANNED_MACROS {
            if mac.path.is_ident(name) {
                self.find(mac.span().start().line, format!("`{name}!` is not finished code"));
            }
        }
        visit::visit_macro(self, mac);
    }
}

/// Whether `word` stands among the tokens, not inside a group of them.
fn holds_word(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::{FUNCTION_LINES_MAX, Source, check};

    const RATCHET: &str = "ratchet.txt";

    fn messages(code: &str, ratchet: &str) -> Vec<String> {
        let sources = [Source::new("a.rs", code), Source::new(RATCHET, ratchet)];
        check(&sources, RATCHET).iter().map(ToString::to_string).collect()
    }

    /// A method of type `T` with this many lines from `fn` to brace.
    fn method(lines: usize) -> String {
        format!("impl T {{\n#[inline]\npub fn long(&self) {{\n{}}}\n}}\n", "\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_function_is_refused_unless_the_ratchet_holds_it() {
        assert!(messages(&method(FUNCTION_LINES_MAX), "").is_empty());
        let found = messages(&method(71), "# none\n");
        assert_eq!(found, ["a.rs:3: `T::long` has 71 lines; the limit is 70"]);
        assert!(messages(&method(71), "a.rs T::long 71\n").is_empty());
    }

    #[test]
    fn the_ratchet_only_shrinks() {
        let found = messages(&method(80), "a.rs T::long 75\n");
        assert_eq!(found, ["a.rs:3: `T::long` grew from 75 lines to 80"]);
        let found = messages(&method(75), "a.rs T::long 80\n");
        assert_eq!(found, ["a.rs:3: `T::long` shrank to 75 lines: lower its line in the ratchet"]);
        let found = messages(&method(10), "\na.rs T::long 80\n");
        assert_eq!(found, ["ratchet.txt:2: remove: a.rs T::long is not that long now"]);
    }

    #[test]
    fn tests_may_not_be_hidden() {
        let code =
            "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#[cfg_attr(unix, should_panic)]\nfn b() {}";
        let hides = "hides what a test should show";
        assert_eq!(
            messages(code, ""),
            [format!("a.rs:2: `#[ignore]` {hides}"), format!("a.rs:4: `#[should_panic]` {hides}")]
        );
    }

    #[test]
    fn unfinished_code_is_refused() {
        assert_eq!(
            messages("fn a() { todo!() }\nfn b() { dbg!(1); }", ""),
            ["a.rs:1: `todo!` is not finished code", "a.rs:2: `dbg!` is not finished code"]
        );
    }

    #[test]
    fn the_value_of_matches_is_used() {
        let dropped = "fn a() {\nmatches!(1, 1);\nlet _ = matches!(1, 1);\n}";
        let message = "the value of `matches!` is dropped";
        assert_eq!(
            messages(dropped, ""),
            [format!("a.rs:2: {message}"), format!("a.rs:3: {message}")]
        );
        let used = "fn a() -> bool {\nassert!(matches!(1, 1));\nlet x = matches!(1, 1);\nmatches!(x, true)\n}";
        assert!(messages(used, "").is_empty());
    }

    #[test]
    fn a_file_that_is_no_rust_is_told() {
        assert_eq!(messages("fn a( {}", "").len(), 1);
    }
}
