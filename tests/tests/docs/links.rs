//! Every link within the repository leads somewhere.

use std::collections::BTreeSet;
use std::fs;

use hawser_tests::binary::workspace_root;

use crate::blocks::pages;

/// The anchors of a page, as forges make them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if let Some((marks, heading)) = line.split_once(' ')
            && !fenced
            && !marks.is_empty()
            && marks.chars().all(|c| c == '#')
        {
            let kept = heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .collect::<String>();
            anchors.insert(kept.replace(' ', "-"));
        }
    }
    anchors
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let mut rest = page.text.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let (link, after) = after.split_once(')').unwrap();
            rest = after;
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let place = format!("{}: {link}", page.path.display());
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() {
                workspace_root().join(&page.path)
            } else {
                workspace_root().join(&page.path).parent().unwrap().join(file)
            };
            assert!(target.exists(), "{place} leads nowhere");
            if let Some(anchor) = anchor {
                let text = fs::read_to_string(&target).unwrap();
                assert!(anchors(&text).contains(anchor), "{place}: no such heading among {:?}", anchors(&text));
            }
        }
    }
    assert!(seen > 80, "{seen}");
}
