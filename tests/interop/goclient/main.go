// Everyday use of etcd's own Go client, with its concurrency package, against the endpoint given as the argument.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}

func must(good bool, what string) {
	if !good {
		log.Panic(what)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	endpoint := os.Args[1]
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	check(err)
	defer client.Close()
	keys(ctx, client)
	watches(ctx, client)
	leases(ctx, client)
	recipes(ctx, client)
	upkeep(ctx, client, endpoint)
	users(ctx, client, endpoint)
	fmt.Println("ok")
}

func keys(ctx context.Context, client *clientv3.Client) {
	for _, key := range []string{"/k/a", "/k/b", "/k/c"} {
		_, err := client.Put(ctx, key, "1")
		check(err)
	}
	got, err := client.Get(ctx, "/k/", clientv3.WithPrefix(), clientv3.WithLimit(2), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	check(err)
	must(got.Count == 3 && got.More && string(got.Kvs[0].Key) == "/k/c", "limit and sort")
	got, err = client.Get(ctx, "/k/b", clientv3.WithFromKey(), clientv3.WithKeysOnly())
	check(err)
	must(len(got.Kvs) == 2 && len(got.Kvs[0].Value) == 0, "from key")
	put, err := client.Put(ctx, "/k/a", "2", clientv3.WithPrevKV())
	check(err)
	must(string(put.PrevKv.Value) == "1", "previous pair")
	got, err = client.Get(ctx, "/k/a", clientv3.WithRev(put.Header.Revision-1))
	check(err)
	must(string(got.Kvs[0].Value) == "1", "old revision")
	txn, err := client.Txn(ctx).If(clientv3.Compare(clientv3.Value("/k/a"), "=", "2"), clientv3.Compare(clientv3.CreateRevision("/k/none"), "=", 0)).
		Then(clientv3.OpPut("/k/d", "x"), clientv3.OpGet("/k/d"), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete("/k/c")}, nil)).
		Else(clientv3.OpGet("/k/a")).Commit()
	check(err)
	must(txn.Succeeded && len(txn.Responses) == 3, "transaction")
	deleted, err := client.Delete(ctx, "/k/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	check(err)
	must(deleted.Deleted == 3 && len(deleted.PrevKvs) == 3, "deletion")
	_, err = client.Get(ctx, "")
	must(err == rpctypes.ErrEmptyKey, "errors are recognised by their text")
	_, err = client.Put(ctx, "/k/a", "x", clientv3.WithLease(404))
	must(err == rpctypes.ErrLeaseNotFound, "no such lease")
	_, err = client.Get(ctx, "/k/a", clientv3.WithRev(1<<50))
	must(err == rpctypes.ErrFutureRev, "future revision")
	space := namespace.NewKV(client.KV, "space/")
	_, err = space.Put(ctx, "x", "y")
	check(err)
	inside, err := space.Get(ctx, "x")
	check(err)
	must(string(inside.Kvs[0].Key) == "x", "namespace")
	ordered := ordering.NewKV(client.KV, func(op clientv3.Op, resp clientv3.OpResponse, prevRev int64) error {
		return fmt.Errorf("revisions went back")
	})
	_, err = ordered.Get(ctx, "space/x")
	check(err)
}

func watches(ctx context.Context, client *clientv3.Client) {
	events := client.Watch(ctx, "/w/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify(), clientv3.WithFragment())
	must((<-events).Created, "created")
	first, err := client.Put(ctx, "/w/a", "1")
	check(err)
	// One after the other: a stream that is behind gets several revisions in one response.
	response := <-events
	must(len(response.Events) == 1 && response.Events[0].IsCreate(), "first event")
	_, err = client.Txn(ctx).Then(clientv3.OpPut("/w/a", "2"), clientv3.OpPut("/w/b", "2")).Commit()
	check(err)
	response = <-events
	must(len(response.Events) == 2 && response.Events[0].IsModify() && string(response.Events[0].PrevKv.Value) == "1", "a revision in one response")
	check(client.RequestProgress(ctx))
	response = <-events
	must(response.IsProgressNotify() && response.Header.Revision == first.Header.Revision+1, "progress")
	old := client.Watch(ctx, "/w/a", clientv3.WithRev(first.Header.Revision))
	must((<-old).Events[0].Kv.ModRevision == first.Header.Revision, "history")
	_, err = client.Compact(ctx, first.Header.Revision+1)
	check(err)
	gone := <-client.Watch(ctx, "/w/a", clientv3.WithRev(first.Header.Revision))
	must(gone.Err() == rpctypes.ErrCompacted && gone.CompactRevision == first.Header.Revision+1, "compacted")
	syncer := mirror.NewSyncer(client, "/w/", 0)
	base, errs := syncer.SyncBase(ctx)
	must(len((<-base).Kvs) == 2, "mirror")
	check(<-errs)
}

func leases(ctx context.Context, client *clientv3.Client) {
	lease, err := client.Grant(ctx, 60)
	check(err)
	_, err = client.Put(ctx, "/l/a", "x", clientv3.WithLease(lease.ID))
	check(err)
	alive, err := client.KeepAlive(ctx, lease.ID)
	check(err)
	must((<-alive).TTL == 60, "kept alive")
	left, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	check(err)
	must(left.GrantedTTL == 60 && len(left.Keys) == 1, "time to live")
	all, err := client.Leases(ctx)
	check(err)
	must(len(all.Leases) >= 1, "leases")
	_, err = client.Revoke(ctx, lease.ID)
	check(err)
	got, err := client.Get(ctx, "/l/a")
	check(err)
	must(len(got.Kvs) == 0, "the key goes with the lease")
	short, err := client.Grant(ctx, 1)
	check(err)
	events := client.Watch(ctx, "/l/", clientv3.WithPrefix())
	_, err = client.Txn(ctx).Then(clientv3.OpPut("/l/b", "x", clientv3.WithLease(short.ID)), clientv3.OpPut("/l/c", "x", clientv3.WithLease(short.ID))).Commit()
	check(err)
	<-events
	expired := <-events
	must(len(expired.Events) == 2 && expired.Events[0].Type == clientv3.EventTypeDelete, "expiry is one revision")
}

func recipes(ctx context.Context, client *clientv3.Client) {
	session := func() *concurrency.Session {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(10))
		check(err)
		return session
	}
	one, two := session(), session()
	mutex, other := concurrency.NewMutex(one, "/mutex"), concurrency.NewMutex(two, "/mutex")
	check(mutex.Lock(ctx))
	must(other.TryLock(ctx) == concurrency.ErrLocked, "locked")
	// The server's own recipe stands in the same queue.
	locked := make(chan struct{})
	go func() {
		_, err := pbLock(ctx, client, "/mutex", int64(two.Lease()))
		check(err)
		close(locked)
	}()
	select {
	case <-locked:
		log.Panic("two holders")
	case <-time.After(200 * time.Millisecond):
	}
	check(mutex.Unlock(ctx))
	<-locked
	election := concurrency.NewElection(one, "/election")
	check(election.Campaign(ctx, "first"))
	leader, err := election.Leader(ctx)
	check(err)
	must(string(leader.Kvs[0].Value) == "first", "leader")
	check(election.Proclaim(ctx, "second"))
	must(string((<-election.Observe(ctx)).Kvs[0].Value) == "second", "observed")
	check(election.Resign(ctx))
	_, err = client.Put(ctx, "/stm", "1")
	check(err)
	_, err = concurrency.NewSTM(client, func(stm concurrency.STM) error {
		stm.Put("/stm", stm.Get("/stm")+"1")
		return nil
	})
	check(err)
	check(one.Close())
	check(two.Close())
}

func upkeep(ctx context.Context, client *clientv3.Client, endpoint string) {
	status, err := client.Status(ctx, endpoint)
	check(err)
	must(status.Leader == status.Header.MemberId && status.Version != "", "status")
	members, err := client.MemberList(ctx)
	check(err)
	must(len(members.Members) == 1, "members")
	check(client.Sync(ctx))
	must(len(client.Endpoints()) == 1, "endpoints")
	alarms, err := client.AlarmList(ctx)
	check(err)
	must(len(alarms.Alarms) == 0, "alarms")
	hash, err := client.HashKV(ctx, endpoint, 0)
	check(err)
	again, err := client.HashKV(ctx, endpoint, hash.Header.Revision)
	check(err)
	must(hash.Hash == again.Hash, "hash")
	_, err = client.Defragment(ctx, endpoint)
	check(err)
	_, err = client.MoveLeader(ctx, 1)
	must(err != nil, "there is no other leader")
}

func users(ctx context.Context, client *clientv3.Client, endpoint string) {
	for name, role := range map[string]string{"root": "root", "reader": "reader"} {
		_, err := client.UserAdd(ctx, name, "secret")
		check(err)
		_, err = client.RoleAdd(ctx, role)
		check(err)
		_, err = client.UserGrantRole(ctx, name, role)
		check(err)
	}
	_, err := client.RoleGrantPermission(ctx, "reader", "/k/", clientv3.GetPrefixRangeEnd("/k/"), clientv3.PermissionType(clientv3.PermRead))
	check(err)
	_, err = client.AuthEnable(ctx)
	check(err)
	login := func(name string, password string) (*clientv3.Client, error) {
		return clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Username: name, Password: password, DialTimeout: 5 * time.Second})
	}
	_, err = login("reader", "wrong")
	must(err == rpctypes.ErrAuthFailed, fmt.Sprintf("wrong password: %v", err))
	reader, err := login("reader", "secret")
	check(err)
	defer reader.Close()
	_, err = reader.Get(ctx, "/k/", clientv3.WithPrefix())
	check(err)
	_, err = reader.Get(ctx, "/", clientv3.WithPrefix())
	must(err == rpctypes.ErrPermissionDenied, "reads beyond")
	_, err = reader.Put(ctx, "/k/a", "x")
	must(err == rpctypes.ErrPermissionDenied, "writes")
	refused := <-reader.Watch(ctx, "/w", clientv3.WithPrefix())
	must(refused.Canceled, "watches beyond")
	root, err := login("root", "secret")
	check(err)
	defer root.Close()
	_, err = root.Put(ctx, "/k/a", "x")
	check(err)
	_, err = root.UserChangePassword(ctx, "reader", "other")
	check(err)
	_, err = root.AuthDisable(ctx)
	check(err)
	_, err = client.Get(ctx, "/k/a")
	check(err)
	_ = pb.RangeRequest{}
}
