// A control plane of go-control-plane's own making, for the tests of confcast's xDS client.
//
// Listens on a free loopback port, which it prints, and takes commands from its standard input, one a line:
//
//	set VERSION NAME:PORT[,PORT...] ...   serve these services, each with a cluster, endpoints and a route
//	quit
package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The id by which the test's client is known: the cache chooses by it.
const node = "router~127.0.0.1~a.b~b.svc.cluster.local"

func ads() *core.ConfigSource {
	return &core.ConfigSource{
		ResourceApiVersion:    core.ApiVersion_V3,
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
	}
}

func address(port uint32) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func snapshot(version string, services []string) *cache.Snapshot {
	var clusters, endpoints []types.Resource
	var routes []*route.Route
	for _, service := range services {
		name, ports, _ := strings.Cut(service, ":")
		clusters = append(clusters, &cluster.Cluster{
			Name:                 name,
			ConnectTimeout:       durationpb.New(time.Second),
			ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
			EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: ads()},
		})
		var backends []*endpoint.LbEndpoint
		for _, text := range strings.Split(ports, ",") {
			port := must(strconv.ParseUint(text, 10, 16))
			backends = append(backends, &endpoint.LbEndpoint{HostIdentifier: &endpoint.LbEndpoint_Endpoint{
				Endpoint: &endpoint.Endpoint{Address: address(uint32(port))},
			}})
		}
		endpoints = append(endpoints, &endpoint.ClusterLoadAssignment{
			ClusterName: name, Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: backends}},
		})
		routes = append(routes, &route.Route{
			Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/" + name}},
			Action: &route.Route_Route{Route: &route.RouteAction{
				ClusterSpecifier: &route.RouteAction_Cluster{Cluster: name},
			}},
		})
	}
	manager := must(anypb.New(&hcm.HttpConnectionManager{
		StatPrefix: "http",
		RouteSpecifier: &hcm.HttpConnectionManager_Rds{
			Rds: &hcm.Rds{RouteConfigName: "routes", ConfigSource: ads()},
		},
	}))
	http := &listener.Listener{
		Name: "http", Address: address(10080),
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
			Name: "hcm", ConfigType: &listener.Filter_TypedConfig{TypedConfig: manager},
		}}}},
	}
	hosts := []*route.VirtualHost{{Name: "any", Domains: []string{"*"}, Routes: routes}}
	return must(cache.NewSnapshot(version, map[resource.Type][]types.Resource{
		resource.ClusterType:  clusters,
		resource.EndpointType: endpoints,
		resource.ListenerType: {http},
		resource.RouteType:    {&route.RouteConfiguration{Name: "routes", VirtualHosts: hosts}},
	}))
}

func main() {
	// In its mode for ADS it answers for endpoints and routes only when all of them are asked for.
	snapshots := cache.NewSnapshotCache(true, cache.IDHash{}, nil)
	server := server.NewServer(context.Background(), snapshots, nil)
	service := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(service, server)
	port := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() { must(0, service.Serve(port)) }()
	fmt.Println(port.Addr())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "set" {
			break
		}
		must(0, snapshots.SetSnapshot(context.Background(), node, snapshot(words[1], words[2:])))
	}
	service.Stop()
}
