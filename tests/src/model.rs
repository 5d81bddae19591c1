//! Random sequences of CSI calls against a started plugin, compared with a small reference model after every step.
//!
//! ```text
//!   generate ──▶ operations ──▶ player ──▶ co ──▶ plugin (two processes, two nodes, one root)
//!                    ▲             │                 │
//!   script ──────────┘             ▼                 ▼
//!                                state ── view ◀──▶ sight: listings, mounts, devices, contents
//! ```
//!
//! [`operation`] is the alphabet and [`script`] its text; [`state`], [`controller`], [`node`], [`order`] and [`view`] are the model, which does no
//! I/O and knows nothing of the product; [`co`], [`names`], [`sight`] and [`player`] deal with the real thing; [`generate`] and
//! [`shrink`] make sequences and make them short; [`tally`] counts what was done.
//!
//! The model is what a CO may expect. It gives for each operation all answers that are right, and with each the state that follows. A
//! call that is sent twice at once must have been carried out in some order; one whose end nobody heard was carried out or not, and the
//! same call after it has the answer that counts.

pub mod co;
pub mod controller;
pub mod form;
pub mod generate;
pub mod names;
pub mod node;
pub mod operation;
pub mod order;
pub mod player;
pub mod script;
pub mod shrink;
pub mod sight;
pub mod state;
pub mod tally;
pub mod view;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::operation::{Access, Node, Signal};
use self::player::Player;
use self::script::Script;
use self::tally::Tally;
use crate::plugin::Plugin;
use crate::settings::Settings;

/// How long a sweep may take that nobody disturbs.
const SWEEP_MAX: Duration = Duration::from_secs(5);

/// Plays a script on a plugin of its own, takes down what is there at its end, and proves that nothing is left. `reached` is the number
/// of the step that failed. An error says in what the plugin was not as it should be.
pub async fn play(ground: &Path, script: &Script, tally: &Tally, reached: &AtomicUsize) -> Result<(), String> {
    let form = script.form;
    // The looks between the steps would fill the log.
    let settings = Settings { log: "warn", ..Settings::new(form.backend.kind) };
    let plugin = Plugin::start_with_faults(ground, settings, form.usage(Access::Writer)).await;
    let mut player = Player::new(&plugin, form, tally).await;
    let mut played = Ok(());
    for (number, operation) in script.operations.iter().enumerate() {
        reached.store(number, Ordering::SeqCst);
        played = player.step(operation).await.map_err(|error| format!("step {} ({operation}) {error}", number + 1));
        if played.is_err() {
            break;
        }
    }
    if played.is_ok() {
        reached.store(script.operations.len(), Ordering::SeqCst);
        played = finish(&plugin, &mut player).await;
    }
    tally.case();
    match played {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("{error}\n{}", plugin.tail().await)),
    }
}

/// Takes everything down.
async fn finish(plugin: &Plugin, player: &mut Player<'_>) -> Result<(), String> {
    for operation in player.state().cleanup() {
        player.step(&operation).await.map_err(|error| format!("at the end ({operation}) {error}"))?;
    }
    if !plugin.leftovers().is_empty() {
        // What calls that were killed had begun is removed by a start with which no call of another process coincides.
        plugin.age();
        player.restart(Node::A, Signal::Term).await;
        let begun = Instant::now();
        while !plugin.leftovers().is_empty() && begun.elapsed() < SWEEP_MAX {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let left = plugin.leftovers();
    if left.is_empty() {
        plugin.finish().await;
        return Ok(());
    }
    Err(format!("left behind: {left:#?}"))
}
