//! Makes every call that leaves the driver (to a storage system, to a backend's node side, to the kernel) fail, or loses its
//! answer, one at a time; then goes on as a CO would, with the same call or with the opposite ones. Nothing may be lost, doubled
//! or left over.
//!
//! Which calls these are is not written here: for each call of the story, the first one that it makes is struck, then the second
//! one, and so on until it makes no more.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hawser_tests::faults::Fault;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::notice::notice;
use hawser_tests::plugin::NODE_A;
use hawser_tests::poll::until;
use hawser_tests::settings::Kind;
use hawser_tests::story::{After, Memory, Story};
use hawser_tests::{Plugin, Settings, trial};
use libtest_mimic::{Arguments, Trial};
use tonic::Code;

/// How long the stories of one trial may take before they count as a hang.
const STORIES_MAX: Duration = Duration::from_secs(300);

/// How often each call was struck.
type Tally = Arc<Mutex<BTreeMap<String, usize>>>;

/// Plays the story again and again, striking the next one of the calls that its call `number` makes each time.
async fn play(plugin: &Plugin, number: usize, fault: Fault, after: After, tally: &Tally) {
    let client = plugin.a();
    let mut faults = plugin.faults(NODE_A);
    let story = Story::of(Kind::Image);
    let call = story.calls[number];
    for nth in 1.. {
        let mut memory = Memory::new(&story);
        for before in &story.calls[..number] {
            memory.perform(*before, &client).await.unwrap();
        }
        faults.arm(nth, fault);
        let answer = memory.perform(call, &client).await;
        let struck = faults.disarm();
        if let Err(status) = &answer {
            assert_eq!(status.code(), Code::Unavailable, "{call:?} after {struck:?}: {status}");
        }
        match after {
            After::Same => memory.go_on(number, &client).await,
            After::Opposite => memory.take_down(call, &client).await,
        }
        assert!(client.volumes().await.is_empty());
        until("the sweep", || plugin.leftovers().is_empty().then_some(()));
        let Some(struck) = struck else {
            assert!(answer.is_ok() && nth > 1, "{call:?} makes no call that could be struck");
            break;
        };
        *tally.lock().unwrap().entry(struck).or_default() += 1;
    }
    plugin.finish().await;
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    trial::keep_panics();
    let footing = (!arguments.list).then(|| Footing::of(Ground::Xfs));
    let ground = footing.as_ref().map(|footing| footing.path().to_owned()).unwrap_or_default();
    let tally = Tally::default();
    let mut trials = Vec::new();
    let story = Story::of(Kind::Image);
    for (number, call) in story.calls.iter().enumerate() {
        for (fault, how) in [(Fault::Fail, "failed"), (Fault::Lose, "unanswered")] {
            for (after, then) in After::ALL {
                let (ground, tally, usage) = (ground.clone(), Arc::clone(&tally), story.usage());
                trials.push(Trial::test(format!("{}-{call:?}::{how}::{then}", number + 1), move || {
                    let start = Plugin::start_with_faults(&ground, Settings::new(Kind::Image), usage);
                    trial::run(STORIES_MAX, start, async |plugin| play(plugin, number, fault, after, &tally).await)
                }));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(footing);
    let tally = tally.lock().unwrap();
    notice(&format!("calls struck: {}; {tally:?}", tally.values().sum::<usize>()));
    conclusion.exit_code()
}
