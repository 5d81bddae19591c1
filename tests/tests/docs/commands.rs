//! Every command line of the documentation is one that the program understands.

use std::process::Command;

use hawser_tests::binary::hawser;

use crate::blocks::pages;

/// The arguments of a line that runs `hawser`, as a shell would read them, up to where another program or file begins. Nothing for a line
/// that is none, or that shows what may be written.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ").trim_start_matches("! ").trim_start_matches("sudo ");
    let rest =
        ["hawser ", "./target/release/hawser ", "/usr/bin/hawser "].iter().find_map(|program| line.strip_prefix(program))?;
    if rest.contains(['…', '[', '`']) || rest.contains("$(") {
        return None;
    }
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in rest.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | '&' | ';' | '#') if word.is_none() => break,
            (None, ' ' | '\\') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

fn is_understood(arguments: &[String]) -> Result<(), String> {
    // With `--help` at its end a command line is read and not carried out; what stands after `--` is another's.
    let before = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let output = Command::new(hawser()).args(&arguments[..before]).arg("--help").output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_command_is_understood() {
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| ["", "sh", "console"].contains(&block.language)) {
            for line in block.text.lines() {
                let Some(arguments) = arguments(line) else { continue };
                seen += 1;
                if let Err(refused) = is_understood(&arguments) {
                    panic!("{}:{}: {line}\n{refused}", page.path.display(), block.line);
                }
            }
        }
    }
    assert!(seen > 30, "{seen}");
    println!("{seen} command lines");
}

#[test]
fn a_planted_command_that_is_none_is_caught() {
    let planted = arguments("    $ hawser volume ls --atached | xargs echo").unwrap();
    assert_eq!(planted, ["volume", "ls", "--atached"]);
    assert!(is_understood(&planted).unwrap_err().contains("--atached"));
}
