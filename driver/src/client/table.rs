//! Columns that stand below each other.

use std::fmt;

/// A table whose columns are as wide as they must be. The last one is not padded, so that lines have no blanks at their ends.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these heads.
    pub(super) fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self { rows: vec![heads.map(str::to_owned).to_vec()] }
    }

    /// Adds a line. What is empty becomes a dash, so that programs that split at blanks find every column; what would break the line or
    /// the terminal is escaped.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { plain(&cell) }).to_vec());
    }
}

/// The text without control characters: a driver's words are not to move the cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                if column + 1 < columns {
                    write!(f, "{cell:<width$}  ", width = widths[column])?;
                } else {
                    writeln!(f, "{cell}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_nothing_moves_the_cursor() {
        let mut table = Table::new(["NAME", "SIZE", "WORDS"]);
        table.row(["a".into(), "10GiB".into(), "two words".into()]);
        table.row(["größer".into(), String::new(), "\u{1b}[2J\n".into()]);
        assert_eq!(table.to_string(), "NAME    SIZE   WORDS\na       10GiB  two words\ngrößer  -      \\u{1b}[2J\\n\n");
    }
}
