//! The lines of the fleet, program by program. Written by hand in the manner of each, from no data set.
//!
//! Each template holds `<id>`, `<big>` or `<serial>`, in a place where such a program has a number of its own anyway.

/// One template a line; what stands between `<` and `>` is told in `corpus::template`.
pub(super) const TEMPLATES: [&str; 64] = [
    // A distributed file system and its jobs, on the JVM.
    "<packed> <20..3000> INFO dfs.BlockReceiver$Responder: replica <0..2> of block blk_<big> closed",
    "<packed> <20..3000> INFO dfs.BlockReceiver: opening block blk_<big> from /<ip>:<32768..60999> towards /<ip>:50010",
    "<packed> <20..3000> INFO dfs.BlockMap: BLOCK* replica reported: <ip>:50010 now holds blk_<big> length <1024..67108864>",
    "<packed> <20..3000> WARN dfs.BlockSender: slow mirror <ip>:50010 for blk_<big>, packet took <300..9000>ms (threshold=300ms)",
    "<java> INFO [AsyncDispatcher] mapred.job.TaskAttempt: attempt_<serial>_m_<000000..999>_<0..3> moves from <NEW|ASSIGNED|RUNNING> to <WAITING|RUNNING|SUCCEEDED>",
    "<java> INFO [IPC Server handler <0..29>] mapred.TaskListener: attempt_<serial>_m_<000000..999>_0 reports progress 0.<00000..99999>",
    "<java> WARN [LeaseRenewer:<user>@<host>:9000] hdfs.LeaseRenewer: lease of client_<big>_1 not renewed for <30..900> seconds",
    "<java> ERROR [Allocator] yarn.Allocator: container container_<serial>_01_<000000..9999> released by <host>: exit status <1|137|143>",
    // A compute engine on the same cluster.
    "<short> INFO executor.Runner: task <0..400>.0 of stage <0..60>.0 (TID <serial>) done, result of <800..4000> bytes handed to the driver",
    "<short> INFO storage.HeapStore: kept broadcast_<serial>_piece<0..9> on heap (about <1..99>.<0..9> KB, <100..400>.<0..9> MB left)",
    "<short> INFO storage.ShuffleReader: fetching <1..200> of <200..400> blocks from <host>, request <serial>",
    "<short> WARN scheduler.TaskSetManager: task <0..400>.<0..3> of stage <0..60>.0 lost (TID <serial>, <host>): ExecutorLost(executor <1..90> went away)",
    // A coordination service.
    "<java> - INFO  [NIOFactory:2181:ServerCxn@<100..1100>] - client /<ip>:<32768..60999> hung up, session 0x<id> stays",
    "<java> - INFO  [CommitProcessor:<1..5>:ZooServer@<100..900>] - session 0x<id> granted to /<ip>:<32768..60999>, timeout <4000|10000|30000>",
    "<java> - WARN  [RecvWorker:<1..5>:CnxManager$RecvWorker@<700..800>] - peer <big> does not answer, me = <1..5>, error = ",
    "<java> - INFO  [Peer[myid=<1..5>]:2181:FastElection@<700..800>] - no votes within <200|400|800|1600|3200|60000> ms, round 0x<id>",
    // Daemons that speak to syslog.
    "<syslog> <host> sshd[<serial>]: Failed password for <user> from <ip> port <1024..65535> ssh2",
    "<syslog> <host> sshd[<serial>]: Accepted publickey for <user> from <ip> port <1024..65535> ssh2: ED25519 SHA256:<hex:16>",
    "<syslog> <host> sshd[<serial>]: Received disconnect from <ip> port <1024..65535>:11: Bye Bye [preauth]",
    "<syslog> <host> sudo[<serial>]: pam_unix(sudo:session): session <opened|closed> for user root by <user>(uid=<1000..1099>)",
    "<syslog> <host> CRON[<serial>]: (<user>) CMD (cd / && run-parts --report /etc/cron.<hourly|daily>)",
    "<syslog> <host> systemd[1]: run-<serial>.scope: Consumed <1..90>.<000..999>s CPU time.",
    "<syslog> <host> postfix/smtp[<1000..99999>]: <hex:10>: to=[<user>@example.com], relay=mx<1..4>.example.com[<ip>]:25, delay=<0..9>.<00..99>, status=sent (250 Ok: queued as <id>)",
    "<syslog> <host> dhcpd[812]: DHCPACK on <ip> to 02:<hex:2>:<hex:2>:<hex:2>:<hex:2>:<hex:2> (<host>) via br<0..4> xid 0x<id>",
    // The kernel.
    "<syslog> <host> kernel: [<serial>.<000000..999999>] TCP: Possible SYN flooding on port <80|443|8080>. Sending cookies.",
    "<syslog> <host> kernel: [<serial>.<000000..999999>] oom-kill:task_memcg=/kubepods/pod<id>,task=java,pid=<300..32000>,uid=<0..1000>",
    "<syslog> <host> kernel: [<serial>.<000000..999999>] EXT4-fs (sd<a|b|c>1): mounted filesystem. Quota mode: none.",
    "<syslog> <host> kernel: [<serial>.<000000..999999>] nf_conntrack: table full, dropping packet IN=eth0 SRC=<ip> DST=<ip> LEN=<40..1500> PROTO=TCP SPT=<1024..65535> DPT=443",
    // Web servers and proxies.
    "<ip> - - [<common>] \"GET <url> HTTP/1.1\" <200|200|200|304|404|503> <100..90000> \"-\" \"Sample/<80..120>.0 (Linux x86_64)\" rid=<id>",
    "<ip> - <user> [<common>] \"POST <url> HTTP/2.0\" <201|204|400|401> <20..900> \"-\" \"sample-client/<1..4>.<0..19>\" <0..2>.<000..999> <id>",
    "<slashed> [error] <10..99>#<10..99>: *<serial> connect() failed (111: Connection refused) while connecting to upstream, client: <ip>, upstream: \"http://<ip>:8080<url>\"",
    "<slashed> [warn] <10..99>#<10..99>: *<serial> an upstream response is buffered to <file>, client: <ip>",
    "<ip>:<1024..65535> [<common>] https~ be_<service>/<host> 0/0/<0..9>/<1..900>/<1..999> <200|301|404|502> <200..9000> ---- <1..400>/<1..400>/<0..9>/0 {<id>} \"GET <url> HTTP/1.1\"",
    // A container orchestrator.
    "I<klog>       1 event.go:<200..400>] \"Event occurred\" object=\"prod/<service>-<hex:10>\" kind=\"Pod\" reason=\"<Scheduled|Pulled|Created|Started>\" uid=\"<id>\"",
    "E<klog>    <1000..9999> pod_workers.go:<900..1300>] \"Error syncing pod\" err=\"CrashLoopBackOff: back-off <10|20|40|80|160>s\" podUID=\"<id>\"",
    "W<klog>       1 reflector.go:<300..500>] watch of *v1.<Pod|Secret|Node> ended: resource version <serial> is too old",
    "I<klog>       1 httplog.go:<80..140>] \"HTTP\" verb=\"<GET|LIST|PATCH>\" URI=\"/api/v1/namespaces/prod/pods/<service>-<1..9>\" latency=\"<1..90>.<000..999>ms\" audit-ID=\"<id>\" resp=<200|201|404|409>",
    // JSON, by the logging libraries of several languages.
    "{\"level\":\"info\",\"ts\":<epoch>.<000..999>,\"caller\":\"<service>/handler.go:<20..400>\",\"msg\":\"request served\",\"method\":\"GET\",\"path\":\"<url>\",\"status\":<200|404|500>,\"took_ms\":<1..900>,\"trace\":\"<id>\"}",
    "{\"level\":\"error\",\"ts\":<epoch>.<000..999>,\"caller\":\"store/<table>.go:<20..400>\",\"msg\":\"query failed\",\"error\":\"deadline exceeded\",\"attempt\":<1..5>,\"trace\":\"<id>\"}",
    "{\"level\":30,\"time\":<epoch><000..999>,\"pid\":<1..400>,\"reqId\":\"<id>\",\"res\":{\"statusCode\":<200|204|302|500>},\"responseTime\":<1..300>.<000..999>,\"msg\":\"request completed\"}",
    "{\"level\":50,\"time\":<epoch><000..999>,\"pid\":<1..400>,\"reqId\":\"<id>\",\"err\":{\"message\":\"connect ECONNREFUSED <ip>:<1024..9999>\"},\"msg\":\"upstream is away\"}",
    "{\"message\":\"Order processed\",\"level\":\"info\",\"service\":\"<service>\",\"timestamp\":\"<iso>\",\"orderId\":\"<id>\",\"durationMs\":<10..600>}",
    "{\"ts\":\"<iso>\",\"level\":\"<INFO|WARN>\",\"message\":\"payment of <1..900>.<00..99> settled for <user>\",\"thread\":\"exec-<1..200>\",\"tx\":\"<id>\"}",
    // logfmt.
    "time=<iso> level=info component=compactor msg=\"block compacted\" ulid=<id> source_blocks=<2..12> duration=<1..90>.<000..999>s",
    "time=<iso> level=warn component=rule_manager group=<service> msg=\"evaluation took longer than its interval\" duration=<10..90>s eval_id=<serial>",
    "ts=<iso> caller=metrics.go:<100..200> level=info org_id=<1..40> traceID=<id> latency=<fast|slow> query_type=filter status=<200|500> throughput=<1..900>MB",
    "level=error ts=<iso> caller=dedupe.go:112 component=remote msg=\"non-recoverable error\" count=<1..2000> batch=<serial> err=\"server returned HTTP status 400\"",
    // Databases and queues.
    "<spaced> UTC [<serial>] <user>@<service> LOG:  duration: <100..9000>.<000..999> ms  statement: SELECT id, state FROM <table> WHERE id = <1..900000>",
    "<spaced> UTC [<serial>] <user>@<service> ERROR:  duplicate key value violates unique constraint \"<table>_pkey\"",
    "<spaced> UTC [<serial>] LOG:  checkpoint complete: wrote <10..9000> buffers (<0..40>.<0..9>%); <0..3> files removed, <0..9> recycled; total=<1..200>.<000..999> s",
    "<spaced> UTC [<serial>] <user>@<service> FATAL:  sorry, too many clients already",
    "[<java>] INFO [Log partition=<table>-<0..47>, dir=/data/queue] Rolled new log segment at offset <big> in <1..40> ms. (queue.log.Log)",
    "[<java>] WARN [Consumer clientId=<service>-<1..9>, groupId=<service>] Offset commit failed on partition <table>-<0..47> at offset <big>: coordinator is loading",
    // A desktop's update service.
    "<seconds>, Info                  CBS    Session 3<serial>_<big> opened for client UpdateScheduler.",
    "<seconds>, Info                  CSI    <hex:8> Transaction <1..90> begun, result 0x00000000, handle @0x<hex:3> id <id>",
    "<seconds>, Info                  CBS    Package state from cache: Package_KB<serial>~amd64~~6.1.1.<0..9>, wanted: <0|80|112>, present: <0|64|112>",
    // A phone.
    "<android>  <1000..1999>  <2000..9999> D PowerService: wake lock <serial> taken, flags=0x1, tag=\"<View Lock|AudioMix|SyncLoop>\", name=<app>, uid=<10000..10199>, pid=<1000..9999>",
    "<android>  <1000..1999>  <2000..9999> I ActivityManager: Start proc <serial>:<app>/u0a<10..199> for <activity|service|broadcast>",
    "<android>  <1000..1999>  <2000..9999> W WindowManager: no window for token BinderProxy@<id> of <app>",
    "<android>  <1000..1999>  <2000..9999> V NotificationQueue: post pkg=<app> id=<serial> what=Notification(pri=<0..2> flags=0x<hex:2> color=0x<hex:8>)",
    // A supercomputer.
    "- <epoch> R<00..77>-M<0..1>-N<0..9>-C:J<02..17>-U<01..11> <dotted> R<00..77>-M<0..1>-N<0..9> RAS KERNEL INFO <serial> memory errors corrected on rank 0, symbol <1..35>, bit <0..7>",
    "- <epoch> R<00..77>-M<0..1>-N<0..9>-C:J<02..17>-U<01..11> <dotted> R<00..77>-M<0..1>-N<0..9> RAS KERNEL INFO writing core.<serial> to <file>",
    "KERNDTLB <epoch> R<00..77>-M<0..1>-N<0..9>-C:J<02..17>-U<01..11> <dotted> R<00..77>-M<0..1>-N<0..9> RAS KERNEL FATAL TLB miss not resolved at 0x<id>",
    "APPREAD <epoch> R<00..77>-M<0..1>-N<0..9>-I:J18-U<01..11> <dotted> R<00..77>-M<0..1>-N<0..9> RAS APP FATAL iod: control stream to <ip>:<32768..60999> ended early, job <serial>",
];
