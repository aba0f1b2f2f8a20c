//! What the server measures, by the names that kube-apiserver gives the same things; `/metrics` in Prometheus' text.
//!
//! All parts of the process register with `prometheus`' default registry, so that one page shows the API server, the
//! controllers' queues and the process itself. Labels come from the kinds that are served, never from what a client
//! sent, so their number is bounded.

use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, StatusCode};
use nubium_store::Range;
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder};

use crate::failure::Failure;
use crate::http::reply::{Content, Reply};
use crate::kind::Kind;
use crate::state::State;

const RESOURCE: [&str; 6] = ["verb", "group", "version", "resource", "subresource", "scope"];
/// Buckets of kube-apiserver's, fewer of them.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts =
        Opts::new("apiserver_request_total", "Requests, by what was asked of which resource and the answer's code.");
    let labels = [&RESOURCE[..], &["code"]].concat();
    registered(IntCounterVec::new(opts, &labels))
});
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "Seconds from a request's head to its answer's; watches are not counted.";
    let opts = HistogramOpts::new("apiserver_request_duration_seconds", help).buckets(SECONDS.to_vec());
    registered(HistogramVec::new(opts, &RESOURCE))
});
static IN_FLIGHT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("apiserver_current_inflight_requests", "Requests under way, without watches.");
    registered(IntGaugeVec::new(opts, &["request_kind"]))
});
static LONG_RUNNING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("apiserver_longrunning_requests", "Watches that are open.");
    registered(IntGaugeVec::new(opts, &RESOURCE))
});
static OBJECTS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("apiserver_resource_objects", "Objects that are stored, by resource.");
    registered(IntGaugeVec::new(opts, &["group", "resource"]))
});
static STORE_BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    let opts = Opts::new("apiserver_storage_size_bytes", "Size of the store's files.");
    registered(IntGauge::with_opts(opts))
});
static REVISION: LazyLock<IntGauge> = LazyLock::new(|| {
    registered(IntGauge::with_opts(Opts::new("nubium_store_revision", "Revision of the last write.")))
});

/// A metric of the default registry.
fn registered<M: Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("names and labels are fixed and valid");
    prometheus::register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}

/// What a request is about, as labels.
#[derive(Debug, Clone)]
pub(crate) struct Labels([String; 6]);

impl Labels {
    /// A request about objects.
    pub fn of_kind(kind: &Kind, verb: &str, subresource: &str, named: bool, namespace: &str) -> Self {
        let scope = match (named, namespace) {
            (true, _) => "resource",
            (false, "") => "cluster",
            (false, _) => "namespace",
        };
        Self([verb, &kind.group, &kind.version, &kind.plural, subresource, scope].map(str::to_owned))
    }

    /// A request about anything else.
    pub fn of_page(method: &Method, page: &str) -> Self {
        let verb = match *method {
            Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => method.as_str(),
            _ => "OTHER",
        };
        Self([verb, "", "", "", page, ""].map(str::to_owned))
    }

    fn all(&self) -> [&str; 6] {
        self.0.each_ref().map(String::as_str)
    }
}

/// A request under way.
pub(crate) struct Measured {
    begun: Instant,
    in_flight: IntGauge,
}

impl Measured {
    pub fn begin(method: &Method) -> Self {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let in_flight = IN_FLIGHT.with_label_values(&[if reads { "readOnly" } else { "mutating" }]);
        in_flight.inc();
        Self { begun: Instant::now(), in_flight }
    }

    /// Counts the answer; that of a watch is counted as open for as long as it lasts.
    pub fn end(self, labels: &Labels, mut reply: Reply) -> Reply {
        let all = labels.all();
        let code = reply.code.as_str().to_owned();
        REQUESTS.with_label_values(&[&all[..], &[code.as_str()]].concat()).inc();
        match reply.content {
            Content::Stream(pieces) => {
                let open = Open::new(LONG_RUNNING.with_label_values(&all));
                let kept = move |piece: Bytes| {
                    let _open = &open;
                    piece
                };
                reply.content = Content::Stream(pieces.map(kept).boxed());
            }
            _ => DURATION.with_label_values(&all).observe(self.begun.elapsed().as_secs_f64()),
        }
        reply
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

/// One that is counted in a gauge until it is dropped.
struct Open(IntGauge);

impl Open {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// `/metrics`
pub(crate) async fn page(state: &State) -> Result<Reply, Failure> {
    let revision = state.store.current().await?;
    REVISION.set(i64::try_from(revision).unwrap_or(i64::MAX));
    OBJECTS.reset();
    for kind in state.registry.snapshot().resources() {
        let first = Range { prefix: kind.storage.prefix.clone(), limit: 1, ..Range::default() };
        let page = state.store.range(first).await?;
        let count = page.objects.len() + page.remaining;
        OBJECTS.with_label_values(&[kind.group.as_str(), &kind.plural]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    STORE_BYTES.set(i64::try_from(store_size(state)).unwrap_or(i64::MAX));
    let text = TextEncoder::new().encode_to_string(&prometheus::gather());
    let text = text.map_err(|error| Failure::internal(error.to_string()))?;
    Ok(Reply::of(StatusCode::OK, Content::Other("text/plain; version=0.0.4; charset=utf-8", text.into())))
}

/// The store's file with what SQLite keeps beside it.
fn store_size(state: &State) -> u64 {
    let Some(path) = &state.config.store_file else { return 0 };
    let sizes = ["", "-wal", "-shm"].map(|suffix| {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        std::fs::metadata(file).map_or(0, |found| found.len())
    });
    sizes.into_iter().sum()
}
