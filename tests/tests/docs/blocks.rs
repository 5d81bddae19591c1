//! The pages, and the blocks of code in them.

use std::fs;
use std::path::{Path, PathBuf};

use hawser_tests::binary::workspace_root;

/// A page.
#[derive(Debug)]
pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

/// A block of code.
#[derive(Debug)]
pub struct Block<'p> {
    /// The word after the fence; nothing for a block that is indented.
    pub language: &'p str,
    pub text: String,
    /// The line where it begins, from 1.
    pub line: usize,
}

/// All pages, the README among them.
pub fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    for directory in ["", "docs", "charts", "charts/hawser", "charts/image"] {
        let Ok(entries) = fs::read_dir(workspace_root().join(directory)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
            let text = fs::read_to_string(&path).unwrap();
            pages.push(Page { path: path.strip_prefix(workspace_root()).unwrap().to_owned(), text });
        }
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(pages.len() > 20, "{}", pages.len());
    pages
}

/// The page at `path`.
pub fn page(path: impl AsRef<Path>) -> Page {
    pages().into_iter().find(|page| page.path == path.as_ref()).unwrap()
}

impl Page {
    /// The blocks of code, in their order.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        let mut open: Option<Block<'_>> = None;
        let mut before = "";
        for (line, text) in (1..).zip(self.text.lines()) {
            match (&mut open, text.trim_start().strip_prefix("```")) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => block.text += &format!("{text}\n"),
                (None, Some(language)) => open = Some(Block { language, text: String::new(), line: line + 1 }),
                (None, None) if text.starts_with("    ") => match blocks.last_mut() {
                    // It goes on.
                    Some(last) if last.language.is_empty() && before.starts_with("    ") => {
                        last.text += &format!("{}\n", &text[4..])
                    }
                    _ => blocks.push(Block { language: "", text: format!("{}\n", &text[4..]), line }),
                },
                (None, None) => {}
            }
            before = text;
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.path.display());
        blocks
    }
}
