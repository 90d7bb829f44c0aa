//! One attack: what runs, under which limits, and how it has to end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burla::raw::{self, Options};
use burla::{Grid, Stdout};
use burla_types::codec;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::Ended;

/// How long a call may take where the list does not say: only one that is stuck reaches it.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// How long the job of an attack may take, compiling and waiting for others included. One that takes longer is stuck.
const JOB_TIME_MAX: Duration = Duration::from_secs(150);

/// What stands in the list for the address of a server on this machine.
const SERVER: &str = "{server}";

/// The outcome of what may end in any way, as long as it ends and the grid is none the worse for it.
const ANY: &str = "any";

/// One entry of the list, whose head says what each key means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Attack {
    /// What it is called.
    pub name: String,
    /// What it tries, where that is not plain from its component.
    #[serde(default)]
    pub comment: String,
    component: String,
    function: Option<String>,
    #[serde(default = "one_unit")]
    inputs: Vec<Value>,
    #[serde(default = "one")]
    times: usize,

    func_cpu: Option<f64>,
    func_ram: Option<f64>,
    timeout_ms: Option<u64>,
    fuel: Option<u64>,
    disk: Option<f64>,
    #[serde(default)]
    allow_network: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,

    outcome: String,
    #[serde(default)]
    message_contains: Vec<String>,
    output: Option<Value>,
    output_between: Option<(u64, u64)>,

    /// How many of its calls may run at one time, where that is bounded.
    #[serde(skip)]
    max_parallelism: Option<usize>,

    /// Where its component is, once it was made.
    #[serde(skip)]
    pub(crate) file: PathBuf,
}

fn one_unit() -> Vec<Value> {
    vec![Value::Null]
}

fn one() -> usize {
    1
}

/// What attacks are let loose on.
#[derive(Clone, Debug)]
pub struct Target {
    /// The grid.
    pub grid: Grid,
    /// The address of a server on this machine that they may try to reach, as `127.0.0.1:PORT`.
    pub server: String,
    /// How many times longer than the list says calls may take that are not meant to run into their timeout: more where many run
    /// at the same time.
    pub patience: u32,
}

/// The list, without components.
pub fn list() -> Vec<Attack> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        attack: Vec<Attack>,
    }

    let list: List = toml::from_str(include_str!("../attacks.toml")).expect("attacks.toml is a list of attacks");
    list.attack
}

impl Attack {
    /// The kind of its component and the name: `attack` and a module of the program `attacks`, `program` and another one of
    /// `src/bin/`, `wat` and a file of `wat/`, or `generated` and what is generated.
    pub fn source(&self) -> (&str, &str) {
        self.component.split_once(':').unwrap_or(("attack", &self.component))
    }

    /// The file of its component. Attacks that are functions of one program share it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The same with each input this many times.
    pub fn times(&self, times: usize) -> Self {
        Self { times, ..self.clone() }
    }

    /// Whether its calls are meant to go on until their timeout.
    pub fn lasts(&self) -> bool {
        self.outcome.starts_with("exceeded timeout")
    }

    /// The same with one call at a time, however many slots there are.
    pub fn one_at_a_time(&self) -> Self {
        Self { max_parallelism: Some(1), ..self.clone() }
    }

    /// Lets it loose, and waits until all of it has ended. It must have been [`prepared`](crate::prepared).
    pub fn run(&self, target: &Target) -> Vec<Ended> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("there is room for a runtime");
        let ended = runtime.block_on(async { tokio::time::timeout(JOB_TIME_MAX, self.calls(target)).await });
        match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => vec![Ended::of_job(&error)],
            Err(_) => vec![Ended::stuck(JOB_TIME_MAX)],
        }
    }

    async fn calls(&self, target: &Target) -> burla::Result<Vec<Ended>> {
        let inputs: Vec<_> = self.encoded_inputs(target).map(Ok).collect();
        let mut calls = raw::start(&self.file, &self.function(), tokio_stream::iter(inputs), self.options(target))?;
        let mut ended = Vec::new();
        while let Some(next) = std::future::poll_fn(|context| calls.poll_next(context)).await {
            ended.push(Ended::of_call(next?.result));
        }
        Ok(ended)
    }

    /// The programs each have a function `attack`, and so has all that is made to look like them.
    fn function(&self) -> String {
        let of_component = || match self.source() {
            ("attack", module) => format!("attacks::{module}::attack"),
            (_, name) => format!("{name}::attack"),
        };
        self.function.clone().unwrap_or_else(of_component)
    }

    fn encoded_inputs(&self, target: &Target) -> impl Iterator<Item = Bytes> {
        let encoded = |input: &Value| match input {
            Value::String(text) => codec::encode(&text.replace(SERVER, &target.server)),
            other => codec::encode(other),
        };
        let inputs: Vec<Bytes> = self.inputs.iter().map(|input| encoded(input).expect("a value of TOML is one").into()).collect();
        let times = self.times;
        inputs.into_iter().flat_map(move |input| std::iter::repeat_n(input, times))
    }

    fn options(&self, target: &Target) -> Options {
        let timeout = self.timeout_ms.map_or(TIMEOUT_DEFAULT, Duration::from_millis);
        let is_meant = self.lasts();
        Options {
            func_cpu: self.func_cpu.unwrap_or(1.0),
            func_ram: self.func_ram,
            max_parallelism: self.max_parallelism,
            timeout: Some(if is_meant { timeout } else { timeout * target.patience }),
            fuel: self.fuel,
            disk: self.disk,
            allow_network: self.allow_network.iter().map(|to| to.replace(SERVER, &target.server)).collect(),
            env: self.env.clone(),
            grid: Some(target.grid.clone()),
            name: Some(self.name.clone()),
            // Read and thrown away: discarded, it would not even leave the node.
            stdout: Stdout::to(|_, _, _| {}),
            spinner: Some(false),
            ..Options::default()
        }
    }

    /// What is not as the list says, if anything.
    pub fn deviation(&self, ended: &[Ended]) -> Option<String> {
        if let Some(wrong) = ended.iter().find(|ended| !self.allows(ended)) {
            return Some(wrong.to_string());
        }
        let calls = self.inputs.len() * self.times;
        let has_calls = !self.outcome.starts_with("job: ") && self.outcome != ANY;
        (has_calls && ended.len() != calls).then(|| format!("{} of {calls} calls have ended", ended.len()))
    }

    fn allows(&self, ended: &Ended) -> bool {
        let is_outcome = if self.outcome == ANY { ended.leaves_grid_well() } else { ended.is(&self.outcome) };
        let number = ended.output.as_ref().and_then(Value::as_u64);
        is_outcome
            && self.message_contains.iter().all(|part| ended.message.contains(part))
            && self.output.as_ref().is_none_or(|output| ended.output.as_ref() == Some(output))
            && self.output_between.is_none_or(|(min, max)| number.is_some_and(|number| (min..=max).contains(&number)))
    }

    /// How it has to end, for people.
    pub fn expected(&self) -> String {
        let mut expected = self.outcome.clone();
        if !self.message_contains.is_empty() {
            expected.push_str(&format!(" with {:?}", self.message_contains));
        }
        if let Some(output) = &self.output {
            expected.push_str(&format!(" with {output}"));
        }
        if let Some((min, max)) = self.output_between {
            expected.push_str(&format!(" with {min} to {max}"));
        }
        expected
    }
}
