//! Layer by layer, in any state of the wire.

use crate::common::{KINDS, Kind, node, node_with, options, pattern, run};
use crate::proxy::Proxy;
use conductor_messenger::{Care, Error, Layout, NoCalls, Notice, Span, Stream};
use std::sync::Arc;
use std::time::Duration;

const HERE: Layout = Layout {
    base: 4096,
    layers: 5,
    slice_bytes: 3000,
};
const THERE: Layout = Layout { base: 100, ..HERE };

#[test]
fn layers_arrive_where_they_belong_and_are_announced_once() {
    for kind in KINDS {
        run(async {
            let (ours, mut theirs) = (node(kind, 0).await, node(kind, 1).await);
            let link = ours.link(theirs.transport.address()).await;
            let blocks: Vec<(u32, u32)> = (0..30).map(|i| (i, (i * 7 + 3) % 30)).collect();
            let care = Care {
                window: 3,
                ..Care::default()
            };
            let mut stream = Stream::new(link, &ours.region, theirs.grant_all(), care);
            for layer in 0..HERE.layers {
                // Prefill computes the layer, and goes on while it is sent.
                for &(block, _) in &blocks {
                    let at = HERE.slice(block, layer).offset;
                    ours.region.write(at, &pattern(at, 3000));
                }
                let layouts = (HERE, THERE);
                stream
                    .push_layer(layouts, layer, &blocks)
                    .await
                    .expect("pushed");
            }
            assert_eq!(theirs.notices.take(), None, "not before the end");
            let sent = stream.finish(77).await.expect("all visible");
            assert_eq!((sent.bytes, sent.repeats), (30 * 5 * 3000, 0));
            let Notice { immediate, .. } = theirs.notices.next().await.expect("open");
            assert_eq!((immediate, theirs.notices.take()), (77, None));
            for &(here, there) in &blocks {
                let bytes = theirs.region.to_vec(THERE.block(there));
                assert!(
                    bytes == ours.region.to_vec(HERE.block(here)),
                    "{kind:?} {here}"
                );
            }
        });
    }
}

#[test]
fn a_cut_wire_is_another_try_and_a_dead_peer_an_error() {
    run(async {
        let mut with = options(0);
        with.lanes = 2;
        with.connect = Duration::from_millis(300);
        let ours = node_with(Kind::Tcp, with, Arc::new(NoCalls)).await;
        let mut theirs = node(Kind::Tcp, 1).await;
        let proxy = Proxy::to(theirs.transport.address()).await;
        let link = ours.link(&proxy.address).await;
        let bytes = pattern(8, 4 << 20);
        ours.region.write(0, &bytes);
        let grant = theirs.grant_all();
        let mut stream = Stream::new(link.clone(), &ours.region, grant, Care::default());
        let part = |i: u64| Span::new(i << 18, 1 << 18);
        for i in 0..16 {
            if i == 9 {
                // In the middle of what is under way.
                proxy.freeze_after(100_000);
                let more = stream.push([part(i)].into(), [part(i)].into());
                more.await.expect("taken in");
                proxy.cut();
                proxy.thaw();
                continue;
            }
            stream
                .push([part(i)].into(), [part(i)].into())
                .await
                .expect("repeated");
        }
        let sent = stream.finish(5).await.expect("all visible");
        assert_eq!(sent.bytes, 4 << 20);
        assert!(sent.repeats >= 1, "{sent:?}");
        assert_eq!(theirs.notices.next().await.map(|n| n.immediate), Some(5));
        assert!(theirs.region.to_vec(Span::new(0, 4 << 20)) == bytes);

        theirs.transport.shutdown(Duration::ZERO).await;
        drop(theirs);
        let care = Care {
            pause: Duration::from_millis(1),
            ..Care::default()
        };
        let mut stream = Stream::new(link, &ours.region, grant, care);
        let pushed = stream.push([part(0)].into(), [part(0)].into()).await;
        let ended = match pushed {
            Ok(()) => stream.finish(6).await.map(|_| ()),
            Err(error) => Err(error),
        };
        let lost = |error: &Error| error.is_passing();
        assert!(ended.as_ref().is_err_and(lost), "{ended:?}");
    });
}
