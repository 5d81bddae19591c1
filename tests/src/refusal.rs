//! Calls that must fail.

use std::fmt::Debug;

use tonic::{Code, Status};

/// Panics unless the call was refused with `code` and every part of `words` is in its message. Returns the message.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T, Status>, code: Code, words: &[&str]) -> String {
    match result {
        Ok(answer) => panic!("expected {code:?}, got an answer: {answer:?}"),
        Err(status) => {
            assert_eq!(status.code(), code, "with the message {:?}", status.message());
            for word in words {
                assert!(status.message().contains(word), "the message does not say {word:?}: {:?}", status.message());
            }
            // CSI spec, "Error Scheme": details must be empty, and the message is for people.
            assert!(status.details().is_empty(), "details of {status:?}");
            assert!(!status.message().is_empty(), "an error without a message");
            status.message().to_owned()
        }
    }
}
