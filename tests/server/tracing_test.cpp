// Traces without a collector; tests/client has one.
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "server/tracing/otlp_exporter.h"
#include "server/tracing/request_spans.h"

namespace pagoda {
namespace {

namespace json = boost::json;

constexpr const char* kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr const char* kParent = "00f067aa0ba902b7";

TEST(TraceParent, IsReadAsW3CHasIt) {
  const std::string ids = fmt::format("00-{}-{}-", kTrace, kParent);
  const auto parent = parse_trace_parent(ids + "01");
  ASSERT_TRUE(parent);
  EXPECT_EQ(parent->trace_id, kTrace);
  EXPECT_EQ(parent->span_id, kParent);
  EXPECT_TRUE(parent->sampled);
  EXPECT_FALSE(parse_trace_parent(ids + "02")->sampled);
  EXPECT_TRUE(parse_trace_parent(ids + "0f")->sampled);
  EXPECT_TRUE(parse_trace_parent("cc" + ids.substr(2) + "01-more")) << "a later version";
}

TEST(TraceParent, AnythingElseBeginsANewTrace) {
  const std::string good = fmt::format("00-{}-{}-01", kTrace, kParent);
  for (std::string bad : {std::string(), good.substr(1), good + "-more", good + "x", "ff" + good.substr(2),
                          "00-" + std::string(32, '0') + good.substr(35), "0" + good})
    EXPECT_FALSE(parse_trace_parent(bad)) << bad;
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = 'G';
    EXPECT_FALSE(parse_trace_parent(bad)) << bad;
  }
}

TEST(RequestSpans, ChildrenLieWithinTheRequest) {
  IdSource ids;
  const RequestRecord record{
      .request_id = "r",
      .method = "POST",
      .status = 200,
      .duration_ns = 1000,
      .report = {.model = "m", .submitted_after_ns = 100, .queued_ns = 200, .decode_ns = 300}};
  const std::vector<Span> spans = request_spans(record, "/v1/x", 5000, ids);
  ASSERT_EQ(spans.size(), 3u) << "no prefill";
  EXPECT_EQ(spans[0].name, "POST /v1/x");
  EXPECT_EQ(spans[0].start_ns, 4000);
  EXPECT_EQ(spans[0].end_ns, 5000);
  EXPECT_EQ(spans[0].trace_id.size(), 32u);
  EXPECT_TRUE(spans[0].parent_id.empty());
  EXPECT_EQ(spans[1].name, "queue");
  EXPECT_EQ(spans[1].start_ns, 4100);
  EXPECT_EQ(spans[2].name, "decode");
  EXPECT_EQ(spans[2].start_ns, 4300);
  EXPECT_EQ(spans[2].end_ns, 4600);
  for (const Span& span : spans) EXPECT_EQ(span.span_id.size(), 16u);
  EXPECT_EQ(spans[2].parent_id, spans[0].span_id);
}

TEST(OtlpJson, HasTheProtocolsShape) {
  const Span span{.trace_id = kTrace,
                  .span_id = kParent,
                  .parent_id = "",
                  .name = "a \"name\"",
                  .kind = Span::Kind::server,
                  .start_ns = 1'700'000'000'000'000'001,
                  .end_ns = 1'700'000'000'000'000'002,
                  .attributes = {{"text", "x"}, {"number", int64_t{7}}},
                  .failed = true};
  const json::value body = json::parse(otlp_json({&span, 1}, "1.2"));
  const json::value& sent = body.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans").at(0);
  EXPECT_EQ(sent.at("name"), "a \"name\"");
  EXPECT_EQ(sent.at("startTimeUnixNano"), "1700000000000000001");
  EXPECT_EQ(sent.at("kind"), 2);
  EXPECT_EQ(sent.at("attributes").at(1).at("value").at("intValue"), "7");
  EXPECT_EQ(sent.at("status").at("code"), 2);
  EXPECT_FALSE(sent.as_object().contains("parentSpanId"));
}

TEST(OtlpExporter, WhatDoesNotFitIsDroppedAndCounted) {
  const auto exporter = OtlpExporter::create("http://127.0.0.1:9");
  ASSERT_TRUE(exporter);
  (*exporter)->add(std::vector<Span>(OtlpExporter::kMaxQueued + 1));
  EXPECT_EQ((*exporter)->num_dropped(), OtlpExporter::kMaxQueued + 1);
}

TEST(OtlpExporter, RefusesWhatIsNoUrl) {
  for (const char* endpoint : {"localhost:4318", "http://", "http://a host:4318", "http://localhost:port"})
    EXPECT_FALSE(OtlpExporter::create(endpoint)) << endpoint;
}

}  // namespace
}  // namespace pagoda
