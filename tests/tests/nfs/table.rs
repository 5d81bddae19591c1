//! What each call answered in each trouble, and after how long.

use std::fmt::Write;
use std::time::{Duration, Instant};

use hawser_tests::notice::notice;
use tonic::{Code, Status};

/// What no call may take, in seconds: a hang is a fault, and how busy the machine is is none.
const SECONDS_MAX: u64 = 25;

/// The table, which is shown when it is dropped.
#[derive(Default)]
pub struct Table {
    troubles: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    call: String,
    cells: Vec<(String, String)>,
}

impl Table {
    /// Notes how a call answered in a trouble.
    pub async fn call(
        &mut self,
        trouble: &str,
        call: &str,
        work: impl Future<Output = Result<(), Status>>,
    ) -> Result<(), Status> {
        let began = Instant::now();
        let result = work.await;
        let took = began.elapsed();
        let code = result.as_ref().map_or_else(Status::code, |()| Code::Ok);
        self.note(trouble, call, &format!("{code:?} {:.2} s", took.as_secs_f64()));
        assert!(took < Duration::from_secs(SECONDS_MAX), "{trouble}: {call} took {took:?}: {result:?}");
        result
    }

    /// Notes anything.
    pub fn note(&mut self, trouble: &str, call: &str, cell: &str) {
        if !self.troubles.iter().any(|known| known == trouble) {
            self.troubles.push(trouble.to_owned());
        }
        let row = match self.rows.iter_mut().position(|row| row.call == call) {
            Some(position) => &mut self.rows[position],
            None => {
                self.rows.push(Row { call: call.to_owned(), cells: Vec::new() });
                self.rows.last_mut().unwrap()
            }
        };
        row.cells.push((trouble.to_owned(), cell.to_owned()));
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut text = format!("| call | {} |\n|---|{}\n", self.troubles.join(" | "), "---|".repeat(self.troubles.len()));
        for row in &self.rows {
            write!(text, "| {} |", row.call).unwrap();
            for trouble in &self.troubles {
                let cells: Vec<&str> = row.cells.iter().filter(|(of, _)| of == trouble).map(|(_, cell)| cell.as_str()).collect();
                write!(text, " {} |", cells.join("; ")).unwrap();
            }
            text.push('\n');
        }
        notice(&text);
    }
}
