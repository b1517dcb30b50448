package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	v3lockpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
)

// pbLock takes a lock by the server's recipe.
func pbLock(ctx context.Context, client *clientv3.Client, name string, lease int64) (*v3lockpb.LockResponse, error) {
	return v3lockpb.NewLockClient(client.ActiveConnection()).Lock(ctx, &v3lockpb.LockRequest{Name: []byte(name), Lease: lease})
}
