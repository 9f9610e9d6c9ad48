// A generation as the transport sees it, with a transport that comes late.
#include <atomic>
#include <thread>

#include "server/openai/generation_operation.h"
#include "server/router.h"
#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

using std::chrono::milliseconds;

constexpr const char* kStream =
    R"({"prompt":"ab","max_tokens":200,"seed":3,"ignore_eos":true,"stream":true,"logprobs":20})";
constexpr size_t kEventBytes = 8u << 10;  // more than any single one here

class GenerationOperationTest : public ::testing::Test {
 protected:
  GenerationOperationTest()
      : context(ServerOptions{}),
        model(std::make_shared<const ServedModel>(make_fake_served_model(fake_engine_config(),
                                                                         [this](const ForwardBatch&) {
                                                                           if (++num_steps == stop_at)
                                                                             gate.close();
                                                                           gate.pass();
                                                                         }))),
        router(context) {
    context.model.set(model);
  }

  std::shared_ptr<Operation> start(const char* body) {
    HttpRequest request{.method = "POST", .path = "/v1/completions", .body = body};
    EXPECT_FALSE(router.admit(request));
    Answer answer = router.handle(std::move(request));
    auto operation = std::get<std::shared_ptr<Operation>>(std::move(answer));
    operation->start([] {});
    return operation;
  }
  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 10'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
  }

  Gate gate;
  std::atomic<int> num_steps = 0;
  std::atomic<int> stop_at = 0;  // the engine stands in this step until the gate opens
  AppContext context;
  std::shared_ptr<const ServedModel> model;
  Router router;
};

TEST_F(GenerationOperationTest, WhatHasPiledUpComesInBursts) {
  const std::shared_ptr<Operation> late = start(kStream);
  ASSERT_TRUE(eventually([&] { return model->engine->stats().finished_length == 1; }));
  std::string text;
  int num_bursts = 0;
  for (Operation::Progress progress; !progress.finished; ++num_bursts) {
    progress = late->poll();
    ASSERT_FALSE(progress.answer);
    EXPECT_LT(progress.bytes.size(), kBurstBytes + kEventBytes);
    text += progress.bytes;
    if (!progress.more) std::this_thread::yield();
  }
  EXPECT_GT(num_bursts, 10);
  EXPECT_EQ(std::ranges::count(text, '\n'), 2 * (200 + 1)) << "an event for each token, and [DONE]";
}

TEST_F(GenerationOperationTest, AClientThatTakesNothingIsParkedByWhatHasPiledUp) {
  stop_at = 30;
  const std::shared_ptr<Operation> operation = start(kStream);
  ASSERT_TRUE(eventually([&] { return num_steps == stop_at; }));
  ASSERT_TRUE(eventually([&] { return operation->poll().more; }));
  operation->pause();
  gate.open();
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_parked == 1; }));
  EXPECT_LT(model->engine->stats().generation_tokens, 40);
  operation->resume();
  ASSERT_TRUE(eventually([&] { return operation->poll().finished; }));
  EXPECT_EQ(model->engine->stats().generation_tokens, 200);
}

}  // namespace
}  // namespace pagoda::testing
