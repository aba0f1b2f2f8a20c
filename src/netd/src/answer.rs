//! What netd answers: a pure function of the Network and of one request (RFC 2131, server side, static leases only).
//!
//! | a client says | it gets |
//! |---|---|
//! | DISCOVER | an OFFER of its address |
//! | REQUEST of its address (choosing us, after a restart, renewing) | an ACK |
//! | REQUEST of any other address | a NAK, so that it begins anew at once |
//! | REQUEST that chooses another server | nothing |
//! | INFORM | an ACK with the options and no address |
//! | DECLINE, RELEASE, anything else, anybody without a lease | nothing |

use std::net::Ipv4Addr;

use dhcproto::{
    Encodable,
    v4::{DhcpOption, Flags, HType, Message, MessageType, Opcode},
};

use crate::{
    config::{Lease, Mac, Network},
    request::Request,
};

/// How long a lease lasts, in seconds. It is renewed at half of it; netd is back long before that if it is killed.
const LEASE: u32 = 3600;

/// A DHCP message to send, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub payload: Vec<u8>,
    pub mac: Mac,
    pub address: Ipv4Addr,
}

/// The answer to a request that came from `sender`, if there is one.
pub fn answer(network: &Network, sender: Mac, request: &[u8]) -> Option<Reply> {
    let request = Request::parse(request)?;
    // A guest speaks for itself only: what it says inside is what the bridge saw outside.
    if request.mac != sender {
        return None;
    }
    let lease = network.leases.iter().find(|lease| lease.mac == sender)?;
    let verdict = match MessageType::from(request.kind) {
        MessageType::Discover => Verdict::Offer,
        MessageType::Request => check(network, lease, &request)?,
        MessageType::Inform => Verdict::Inform,
        _ => return None,
    };
    reply(network, lease, &request, verdict)
}

enum Verdict {
    Offer,
    Ack,
    Nak,
    Inform,
}

fn check(network: &Network, lease: &Lease, request: &Request) -> Option<Verdict> {
    if request.server.is_some_and(|server| server != network.gateway) {
        return None;
    }
    let asked = request.requested.unwrap_or(request.ciaddr);
    Some(if asked == lease.address { Verdict::Ack } else { Verdict::Nak })
}

fn reply(network: &Network, lease: &Lease, request: &Request, verdict: Verdict) -> Option<Reply> {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_xid(request.xid)
        .set_flags(if request.broadcast { Flags::default().set_broadcast() } else { Flags::default() })
        .set_chaddr(&request.mac.0);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(match verdict {
        Verdict::Offer => MessageType::Offer,
        Verdict::Ack | Verdict::Inform => MessageType::Ack,
        Verdict::Nak => MessageType::Nak,
    }));
    options.insert(DhcpOption::ServerIdentifier(network.gateway));
    if let Some(id) = &request.client_id {
        options.insert(DhcpOption::ClientIdentifier(id.clone()));
    }
    if matches!(verdict, Verdict::Nak) {
        options.insert(DhcpOption::Message("this is not your address on this network".into()));
        return send(&message, Mac([0xff; 6]), Ipv4Addr::BROADCAST);
    }
    let mask = u32::MAX.checked_shl(32 - u32::from(network.prefix)).unwrap_or(0);
    options.insert(DhcpOption::SubnetMask(mask.into()));
    options.insert(DhcpOption::BroadcastAddr((u32::from(network.gateway) | !mask).into()));
    if network.default_route {
        options.insert(DhcpOption::Router(vec![network.gateway]));
    }
    options.insert(DhcpOption::InterfaceMtu(network.mtu));
    if !network.dns.is_empty() {
        options.insert(DhcpOption::DomainNameServer(network.dns.clone()));
    }
    if let Some(name) = &lease.hostname {
        options.insert(DhcpOption::Hostname(name.clone()));
    }
    if matches!(verdict, Verdict::Inform) {
        message.set_ciaddr(request.ciaddr);
        return send(&message, lease.mac, lease.address);
    }
    options.insert(DhcpOption::AddressLeaseTime(LEASE));
    options.insert(DhcpOption::Renewal(LEASE / 2));
    options.insert(DhcpOption::Rebinding(LEASE / 8 * 7));
    message.set_yiaddr(lease.address).set_siaddr(network.gateway);
    if matches!(verdict, Verdict::Ack) {
        message.set_ciaddr(request.ciaddr);
    }
    // To its MAC in any case; to the broadcast address if it cannot take its own before it has it.
    let broadcast = request.broadcast && request.ciaddr.is_unspecified();
    if broadcast {
        send(&message, Mac([0xff; 6]), Ipv4Addr::BROADCAST)
    } else {
        send(&message, lease.mac, lease.address)
    }
}

fn send(message: &Message, mac: Mac, address: Ipv4Addr) -> Option<Reply> {
    let mut payload = message.to_vec().ok()?;
    // Old clients drop what is shorter than a BOOTP message.
    if payload.len() < 300 {
        payload.resize(300, 0);
    }
    Some(Reply { payload, mac, address })
}

#[cfg(test)]
mod tests {
    use dhcproto::{Decodable, Decoder, v4::OptionCode};

    use super::*;

    const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

    fn network() -> Network {
        Network {
            namespace: "nubium.shop.blue".into(),
            bridge: "br0".into(),
            gateway: "10.0.0.1".parse().unwrap(),
            default_route: true,
            prefix: 24,
            dns: vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()],
            mtu: 1430,
            leases: vec![Lease { mac: MAC, address: "10.0.0.5".parse().unwrap(), hostname: Some("web-1".into()) }],
        }
    }

    fn request(kind: MessageType, options: &[DhcpOption]) -> Message {
        let mut message = Message::default();
        message.set_chaddr(&MAC.0).set_xid(7);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        for option in options {
            message.opts_mut().insert(option.clone());
        }
        message
    }

    fn ask(message: &Message) -> Option<(Message, Reply)> {
        let reply = answer(&network(), MAC, &message.to_vec().unwrap())?;
        let decoded = Message::decode(&mut Decoder::new(&reply.payload)).unwrap();
        Some((decoded, reply))
    }

    fn requested(address: &str) -> DhcpOption {
        DhcpOption::RequestedIpAddress(address.parse().unwrap())
    }

    fn server(address: &str) -> DhcpOption {
        DhcpOption::ServerIdentifier(address.parse().unwrap())
    }

    #[test]
    fn a_discover_is_offered_the_whole_lease() {
        let (offer, reply) = ask(&request(MessageType::Discover, &[])).unwrap();
        assert_eq!((offer.xid(), offer.yiaddr()), (7, "10.0.0.5".parse().unwrap()));
        assert_eq!((reply.mac, reply.address), (MAC, "10.0.0.5".parse().unwrap()));
        let has = |option: DhcpOption| offer.opts().iter().any(|(_, o)| *o == option);
        assert!(has(DhcpOption::MessageType(MessageType::Offer)));
        assert!(has(DhcpOption::SubnetMask("255.255.255.0".parse().unwrap())));
        assert!(has(DhcpOption::BroadcastAddr("10.0.0.255".parse().unwrap())));
        assert!(has(DhcpOption::Router(vec!["10.0.0.1".parse().unwrap()])));
        assert!(has(DhcpOption::DomainNameServer(network().dns)));
        assert!(has(DhcpOption::InterfaceMtu(1430)));
        assert!(has(DhcpOption::Hostname("web-1".into())));
        assert!(
            has(DhcpOption::AddressLeaseTime(3600))
                && has(DhcpOption::Renewal(1800))
                && has(DhcpOption::Rebinding(3150))
        );
        assert!(reply.payload.len() >= 300);
    }

    #[test]
    fn no_router_is_named_where_nothing_leaves() {
        let network = Network { default_route: false, ..network() };
        for kind in [MessageType::Discover, MessageType::Inform] {
            let reply = answer(&network, MAC, &request(kind, &[]).to_vec().unwrap()).unwrap();
            let decoded = Message::decode(&mut Decoder::new(&reply.payload)).unwrap();
            assert!(
                decoded.opts().get(OptionCode::Router).is_none()
                    && decoded.opts().get(OptionCode::SubnetMask).is_some()
            );
        }
    }

    #[test]
    fn a_request_is_acknowledged_only_for_the_own_address() {
        let kind = |message: &Message| ask(message).and_then(|(reply, _)| reply.opts().msg_type());
        let select = |address| request(MessageType::Request, &[requested(address), server("10.0.0.1")]);
        assert_eq!(kind(&select("10.0.0.5")), Some(MessageType::Ack));
        assert_eq!(kind(&select("10.0.0.6")), Some(MessageType::Nak));
        assert_eq!(
            kind(&request(MessageType::Request, &[requested("10.0.0.5")])),
            Some(MessageType::Ack),
            "after a restart"
        );
        assert_eq!(kind(&request(MessageType::Request, &[requested("192.168.0.5")])), Some(MessageType::Nak));
        let mut renew = request(MessageType::Request, &[]);
        renew.set_ciaddr("10.0.0.5".parse::<Ipv4Addr>().unwrap());
        assert_eq!(kind(&renew), Some(MessageType::Ack));
        renew.set_ciaddr("10.0.0.9".parse::<Ipv4Addr>().unwrap());
        assert_eq!(kind(&renew), Some(MessageType::Nak));
        assert_eq!(kind(&request(MessageType::Request, &[requested("10.0.0.5"), server("10.0.0.2")])), None);
    }

    #[test]
    fn a_nak_and_an_asked_for_broadcast_go_to_everybody() {
        let (_, nak) = ask(&request(MessageType::Request, &[requested("10.0.0.6")])).unwrap();
        assert_eq!((nak.mac, nak.address), (Mac([0xff; 6]), Ipv4Addr::BROADCAST));
        let mut discover = request(MessageType::Discover, &[]);
        discover.set_flags(discover.flags().set_broadcast());
        assert_eq!(ask(&discover).unwrap().1.address, Ipv4Addr::BROADCAST);
    }

    #[test]
    fn an_inform_gets_options_and_no_address() {
        let mut inform = request(MessageType::Inform, &[]);
        inform.set_ciaddr("10.0.0.5".parse::<Ipv4Addr>().unwrap());
        let (ack, _) = ask(&inform).unwrap();
        assert!(ack.yiaddr().is_unspecified() && ack.opts().get(OptionCode::AddressLeaseTime).is_none());
        assert!(ack.opts().get(OptionCode::Router).is_some());
    }

    #[test]
    fn strangers_and_liars_get_nothing() {
        let discover = request(MessageType::Discover, &[]).to_vec().unwrap();
        assert!(answer(&network(), Mac([2, 0, 0, 0, 0, 9]), &discover).is_none(), "another's MAC inside");
        let mut nobody = network();
        nobody.leases.clear();
        assert!(answer(&nobody, MAC, &discover).is_none());
        for kind in [MessageType::Decline, MessageType::Release, MessageType::Offer, MessageType::Unknown(99)] {
            assert!(ask(&request(kind, &[])).is_none());
        }
        let mut relayed = request(MessageType::Discover, &[]);
        relayed.set_giaddr("10.9.9.9".parse::<Ipv4Addr>().unwrap());
        assert!(ask(&relayed).is_none());
    }

    /// A guest can send anything. Every prefix, and many random changes of a good request, drawn from a fixed seed.
    #[test]
    fn no_bytes_bring_it_down() {
        let good = request(
            MessageType::Request,
            &[requested("10.0.0.5"), server("10.0.0.1"), DhcpOption::Hostname("x".into())],
        )
        .to_vec()
        .unwrap();
        for cut in 0..good.len() {
            let _ = answer(&network(), MAC, &good[..cut]);
        }
        let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut draw = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        let mut answered = 0;
        for _ in 0..50_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + draw(4) {
                let at = if draw(2) == 0 { draw(bytes.len()) } else { 240 + draw(bytes.len() - 240) };
                bytes[at] = draw(256) as u8;
            }
            answered += usize::from(answer(&network(), MAC, &bytes).is_some());
        }
        assert!(answered > 0, "some of them are still requests");
    }
}
