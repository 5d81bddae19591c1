//! Answers as EC2 writes them.

use std::fmt::Write;

/// An element.
#[derive(Debug, Clone)]
pub enum Node {
    /// With text.
    Text(&'static str, String),
    /// With elements.
    Tree(&'static str, Vec<Node>),
}

/// An element with text.
pub fn text(name: &'static str, text: impl ToString) -> Node {
    Node::Text(name, text.to_string())
}

/// A list.
pub fn set(name: &'static str, items: impl IntoIterator<Item = Vec<Node>>) -> Node {
    Node::Tree(name, items.into_iter().map(|item| Node::Tree("item", item)).collect())
}

/// The answer to `action`.
pub fn answer(action: &str, nodes: &[Node]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>"
    );
    nodes.iter().for_each(|node| write(&mut xml, node));
    let _ = write!(xml, "</{action}Response>");
    xml
}

/// A refusal.
pub fn refusal(code: &str, message: &str) -> String {
    let nodes = [Node::Tree("Errors", vec![Node::Tree("Error", vec![text("Code", code), text("Message", message)])])];
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>".to_owned();
    nodes.iter().for_each(|node| write(&mut xml, node));
    xml.push_str("<RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>");
    xml
}

fn write(xml: &mut String, node: &Node) {
    match node {
        Node::Text(name, text) => {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = write!(xml, "<{name}>{text}</{name}>");
        }
        Node::Tree(name, nodes) if nodes.is_empty() => {
            let _ = write!(xml, "<{name}/>");
        }
        Node::Tree(name, nodes) => {
            let _ = write!(xml, "<{name}>");
            nodes.iter().for_each(|node| write(xml, node));
            let _ = write!(xml, "</{name}>");
        }
    }
}
