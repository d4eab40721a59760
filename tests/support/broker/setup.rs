//! How a broker is set up: its listeners, what guards them, and the config file that follows.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::support::certificates::Certificate;
use crate::support::proxy::Proxy;

/// What a broker has besides its plain listener.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    listeners: Vec<Listener>,
    /// Who may log in where SASL is asked for.
    users: Vec<(&'static str, &'static str)>,
    acls: bool,
}

#[derive(Clone)]
struct Listener {
    name: &'static str,
    certificate: Option<Certificate>,
    sasl: bool,
    /// What clients are told instead of the listener's own address.
    advertised: Option<String>,
}

impl Listener {
    fn plain(name: &'static str) -> Listener {
        Listener { name, certificate: None, sasl: false, advertised: None }
    }

    fn protocol(&self) -> &'static str {
        match (&self.certificate, self.sasl) {
            (None, false) => "PLAINTEXT",
            (Some(_), false) => "SSL",
            (None, true) => "SASL_PLAINTEXT",
            (Some(_), true) => "SASL_SSL",
        }
    }
}

impl Setup {
    /// One more listener, whose clients are sent to the proxy. Its address is [`Broker::address_of`] this name.
    ///
    /// [`Broker::address_of`]: super::Broker::address_of
    pub(crate) fn behind(mut self, name: &'static str, proxy: &Proxy) -> Setup {
        let advertised = Some(proxy.address().to_owned());
        self.listeners.push(Listener { advertised, ..Listener::plain(name) });
        self
    }

    /// One more listener, with TLS and this certificate, however bad.
    pub(crate) fn tls(mut self, name: &'static str, certificate: Certificate) -> Setup {
        self.listeners.push(Listener { certificate: Some(certificate), ..Listener::plain(name) });
        self
    }

    /// One more listener, where users log in: without TLS, or with it.
    pub(crate) fn sasl(mut self, name: &'static str, certificate: Option<Certificate>) -> Setup {
        self.listeners.push(Listener { certificate, sasl: true, ..Listener::plain(name) });
        self
    }

    /// One who may log in, with PLAIN or SCRAM.
    pub(crate) fn user(mut self, name: &'static str, password: &'static str) -> Setup {
        self.users.push((name, password));
        self
    }

    /// Who logged in may do only what was allowed to them; who came through the plain listener may do everything.
    pub(crate) fn acls(mut self) -> Setup {
        self.acls = true;
        self
    }

    /// What `StorageTool format` has to be told about the users.
    pub(super) fn scram(&self) -> Vec<String> {
        let one = |(name, password): &(&str, &str)| {
            format!("--add-scram=SCRAM-SHA-256=[name={name},password={password}]")
        };
        self.users.iter().map(one).collect()
    }

    /// The config of a broker in `folder`, with the address of each listener; the plain one is the first.
    pub(super) fn config(&self, folder: &Path, data: &Path) -> (String, Vec<(&'static str, String)>) {
        let all: Vec<Listener> =
            std::iter::once(Listener::plain(PLAIN)).chain(self.listeners.iter().cloned()).collect();
        let ports = free_ports(all.len() + 1);
        let addresses: Vec<(&'static str, String)> = all
            .iter()
            .zip(&ports)
            .map(|(listener, port)| (listener.name, format!("127.0.0.1:{port}")))
            .collect();
        let join = |part: &dyn Fn(&Listener, &str) -> String| {
            let parts = all.iter().zip(&addresses).map(|(listener, (_, address))| part(listener, address));
            parts.collect::<Vec<_>>().join(",")
        };
        let listeners = join(&|listener, address| format!("{}://{address}", listener.name));
        let advertised = join(&|listener, address| {
            format!("{}://{}", listener.name, listener.advertised.as_deref().unwrap_or(address))
        });
        let protocols = join(&|listener, _| format!("{}:{}", listener.name, listener.protocol()));
        let controller = ports[all.len()];
        // The session is short because a killed broker may register again only when its old session has ended.
        let mut config = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={advertised}\n\
             listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name={PLAIN}\n\
             log.dirs={data}\n\
             broker.heartbeat.interval.ms=500\n\
             broker.session.timeout.ms=4000\n\
             auto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            data = data.display(),
        );
        if self.acls {
            config += "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                       super.users=User:ANONYMOUS\n";
        }
        for listener in &all {
            self.guard(listener, folder, &mut config);
        }
        (config, addresses)
    }

    /// What one listener asks of its clients, and what it shows them.
    fn guard(&self, listener: &Listener, folder: &Path, config: &mut String) {
        let prefix = format!("listener.name.{}", listener.name.to_lowercase());
        if let Some(certificate) = &listener.certificate {
            let file = folder.join(format!("{}.pem", listener.name));
            std::fs::write(&file, certificate.key_and_chain()).expect("the certificate");
            // Writing to a string cannot fail.
            let _ = writeln!(config, "{prefix}.ssl.keystore.type=PEM");
            let _ = writeln!(config, "{prefix}.ssl.keystore.location={}", file.display());
        }
        if listener.sasl {
            let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
            let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
            let users: Vec<String> =
                self.users.iter().map(|(name, password)| format!("user_{name}=\"{password}\"")).collect();
            let _ = writeln!(config, "{prefix}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256");
            let users = users.join(" ");
            let _ = writeln!(config, "{prefix}.plain.sasl.jaas.config={plain} required {users};");
            let _ = writeln!(config, "{prefix}.scram-sha-256.sasl.jaas.config={scram} required;");
        }
    }
}

/// The name of the listener that every broker has: no TLS, no SASL, every right.
pub(super) const PLAIN: &str = "CLIENT";

/// Ports that nobody listens on now. They are held together until all are known, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let held: Vec<TcpListener> = (0..count).map(bind).collect();
    held.iter().map(|listener| listener.local_addr().expect("a bound port").port()).collect()
}
