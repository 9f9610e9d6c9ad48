#include "sched/output_lengths.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

constexpr double kToken = 0.002;

UnfinishedWork work(double prompt_seconds, int64_t num_generated = 0, int64_t most_generated = INT64_MAX) {
  return {.prompt_seconds = prompt_seconds,
          .left_seconds = num_generated > 0 ? 0 : prompt_seconds,
          .token_seconds = kToken,
          .num_generated = num_generated,
          .most_generated = most_generated};
}

void learn(OutputLengths& lengths, int64_t num_tokens, int num_outputs) {
  for (int i = 0; i < num_outputs; ++i) lengths.add(num_tokens);
}

TEST(OutputLengths, IsTheLengthOfTheWorkWhereAllAreAlike) {
  OutputLengths lengths;
  learn(lengths, 128, 20'000);
  EXPECT_NEAR(lengths.index_seconds(work(0.5)), 0.5 + 128 * kToken, 0.01);
  // 28 tokens are left of a work of 0.756 s.
  EXPECT_NEAR(lengths.index_seconds(work(0.5, 100)), std::sqrt(28 * kToken * 0.756), 0.01);
}

TEST(OutputLengths, OneThatIsAboutToEndGoesBeforeOneThatBegins) {
  OutputLengths lengths;
  learn(lengths, 128, 1000);
  EXPECT_LT(lengths.index_seconds(work(0.01, 100)), lengths.index_seconds(work(0.01)));
}

TEST(OutputLengths, BeforeAnythingIsKnownWhatHasGeneratedLongGoesOnForLong) {
  const OutputLengths lengths;
  double before = lengths.index_seconds(work(0.001));
  for (const int64_t age : {32, 100, 1000, 10'000}) {
    const double seconds = lengths.index_seconds(work(0.001, age));
    EXPECT_GT(seconds, before) << age;
    before = seconds;
  }
}

TEST(OutputLengths, AgeTellsLongOnesFromShortOnes) {
  OutputLengths lengths;
  for (int i = 0; i < 2000; ++i) lengths.add(i % 2 == 0 ? 14 : 1058);
  EXPECT_LT(lengths.index_seconds(work(0.001, 13)), 0.02);
  EXPECT_GT(lengths.index_seconds(work(0.001, 14)), 1);
}

TEST(OutputLengths, LongerPromptsGoLater) {
  OutputLengths lengths;
  learn(lengths, 300, 1000);
  EXPECT_LT(lengths.index_seconds(work(0.1)), lengths.index_seconds(work(0.2)));
}

TEST(OutputLengths, ForgetsWhatNoLongerComes) {
  OutputLengths lengths;
  learn(lengths, 1058, 5000);
  const double long_ones = lengths.index_seconds(work(0.01));
  learn(lengths, 14, 5000);
  EXPECT_GT(long_ones, 2);
  EXPECT_LT(lengths.index_seconds(work(0.01)), 0.1);
}

TEST(OutputLengths, AnyLengthStaysPossible) {
  OutputLengths lengths;
  learn(lengths, 14, 100'000);
  for (const int64_t age : {100, 10'000, 1'000'000}) {
    const double seconds = lengths.index_seconds(work(0.01, age));
    EXPECT_TRUE(std::isfinite(seconds) && seconds > 0) << age;
  }
}

TEST(OutputLengths, ALimitEndsWhatWouldBeLonger) {
  OutputLengths lengths;
  learn(lengths, 1000, 5000);
  EXPECT_NEAR(lengths.index_seconds(work(0.01, 0, 100)), 0.01 + 100 * kToken, 0.01);
  EXPECT_NEAR(lengths.index_seconds(work(0.01, 99, 100)), std::sqrt(kToken * (0.01 + 100 * kToken)), 0.001);
  EXPECT_DOUBLE_EQ(lengths.index_seconds(work(0.01, 0, 100'000)), lengths.index_seconds(work(0.01)));
  EXPECT_TRUE(std::isfinite(lengths.index_seconds(work(0.01, 100, 100)))) << "its last token is under way";
}

TEST(OutputLengths, OneThatWasCutSaysOnlyThatItReachedItsLimit) {
  OutputLengths lengths;
  for (int i = 0; i < 5000; ++i) {
    lengths.add(20, i % 10 == 0 ? OutputLengths::End::by_itself : OutputLengths::End::cut);
    if (i % 10 == 0) learn(lengths, 1000, 9);
  }
  // A tenth ends at 20, whether it may go on or not.
  EXPECT_NEAR(lengths.expected_left(0, 100'000), 902, 45);
  EXPECT_NEAR(lengths.expected_left(30, 100'000), 970, 70);
}

TEST(OutputLengths, WhereAllAreCutTheLimitIsTheLength) {
  OutputLengths lengths;
  for (int64_t i = 0; i < 5000; ++i) lengths.add(1 + 97 * i % 500, OutputLengths::End::cut);
  for (const int64_t most : {10, 100, 400}) {
    EXPECT_NEAR(lengths.expected_left(0, most), most, 1);
    EXPECT_NEAR(lengths.index_seconds(work(0.3, 0, most)),
                0.3 + static_cast<double>(std::max<int64_t>(most, 16)) * kToken, 0.02);
  }
  EXPECT_GT(lengths.expected_left(0, 5000), 4500) << "none has ended before its limit";
}

// Limits that have nothing to do with the lengths hide none of what a full list says.
TEST(OutputLengths, SeesBehindLimits) {
  std::mt19937 random(3);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
  OutputLengths all;
  OutputLengths seen;
  for (int i = 0; i < 20'000; ++i) {
    const auto length = 1 + static_cast<int64_t>(std::exp(static_cast<double>(random() % 7000) / 1000));
    const auto limit = 1 + static_cast<int64_t>(std::exp(static_cast<double>(random() % 8000) / 1000));
    all.add(length);
    seen.add(std::min(length, limit),
             length < limit ? OutputLengths::End::by_itself : OutputLengths::End::cut);
  }
  for (const int64_t age : {0, 5, 50})
    for (const int64_t most : {20, 200, 2000})
      EXPECT_NEAR(seen.expected_left(age, most) / all.expected_left(age, most), 1, 0.1) << age << ' ' << most;
}

TEST(OutputLengths, TheNextAgeIsLaterAndASeventhAway) {
  for (const int64_t age : {0, 1, 7, 8, 100, 5000}) {
    EXPECT_GT(OutputLengths::next_age(age), age);
    EXPECT_LE(OutputLengths::next_age(age), age + std::max<int64_t>(age / 7, 1));
  }
}

// By the definition, over a list of lengths: the most, over all amounts of service, of the slowdown saved by
// the service to be expected.
double plain_index_seconds(const std::vector<int64_t>& lengths, const UnfinishedWork& work) {
  std::vector<int64_t> left;
  for (const int64_t length : lengths)
    if (length > work.num_generated) left.push_back(std::min(length, work.most_generated));
  double index = 0;
  for (const int64_t until : left) {
    double saved = 0;
    double service = 0;
    for (const int64_t length : left) {
      const auto tokens = static_cast<double>(std::min(length, until) - work.num_generated);
      service += work.left_seconds + work.token_seconds * tokens;
      const auto whole = static_cast<double>(std::max<int64_t>(length, 16));
      if (length <= until) saved += 1 / (work.prompt_seconds + work.token_seconds * whole);
    }
    index = std::max(index, saved / service);
  }
  return 1 / std::sqrt(index);
}

TEST(OutputLengths, IsGittinsIndexByItsDefinition) {
  std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
  for (int round = 0; round < 20; ++round) {
    std::vector<int64_t> history;
    const int64_t longest = 20 << (round % 6);
    for (int i = 0; i < 300; ++i) {
      const int64_t length = 1 + static_cast<int64_t>(random()) % longest;
      history.push_back(OutputLengths::next_age(length - 1));  // as the histogram rounds
    }
    OutputLengths lengths;
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::ranges::shuffle(history, random);  // so that all are forgotten alike
      for (const int64_t length : history) lengths.add(length);
    }
    for (const double prompt : {0.001, 0.05, 2.0})
      for (const int64_t age : {int64_t{0}, longest / 8, longest / 2})
        for (const int64_t most : {longest / 2 + 1, 3 * longest / 4, 2 * longest}) {
          const UnfinishedWork some = work(prompt, age, most);
          EXPECT_NEAR(lengths.index_seconds(some) / plain_index_seconds(history, some), 1, 0.07)
              << round << ' ' << prompt << ' ' << age << ' ' << most;
        }
  }
}

TEST(OutputLengths, ExpectsAGuessBeforeAnyHasEnded) {
  const OutputLengths lengths;
  EXPECT_EQ(lengths.expected_left(0, 1000), 64);
  EXPECT_EQ(lengths.expected_left(0, 20), 20);
  EXPECT_EQ(lengths.expected_left(500, 10'000), 500) << "as many again";
  EXPECT_EQ(lengths.expected_left(500, 0), 0);
}

TEST(OutputLengths, ExpectsTheMeanOfTheRest) {
  OutputLengths lengths;
  // Means are what matters: of a tenth that is long, most of the tokens come.
  for (int i = 0; i < 5000; ++i) lengths.add(i % 10 == 0 ? 2000 : 50);
  EXPECT_NEAR(lengths.expected_left(0, 100'000), 245, 20);
  EXPECT_NEAR(lengths.expected_left(0, 500), 95, 5) << "the long ones are cut";
  EXPECT_NEAR(lengths.expected_left(40, 100'000), 205, 20);
  EXPECT_NEAR(lengths.expected_left(60, 100'000), 1940, 100) << "the short ones have ended";
  EXPECT_NEAR(lengths.expected_left(1500, 100'000), 500, 100);
  EXPECT_NEAR(lengths.expected_left(5000, 100'000), 5000, 1) << "none was seen as old";
  EXPECT_NEAR(lengths.expected_left(200'000, 10), 10, 0) << "nor in any bucket";
}

TEST(OutputLengths, ExpectsAtLeastATokenMore) {
  OutputLengths lengths;
  learn(lengths, 1000, 5000);
  EXPECT_GE(lengths.expected_left(999, 100'000), 1);
  EXPECT_LT(lengths.expected_left(999, 100'000), 20);
}

// By the definition, over a list of lengths.
TEST(OutputLengths, ExpectsWhatAListOfLengthsSays) {
  std::mt19937 random(2);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
  OutputLengths lengths;
  std::vector<int64_t> history;
  for (int i = 0; i < 1000; ++i)
    history.push_back(1 + static_cast<int64_t>(std::exp(static_cast<double>(random() % 7000) / 1000)));
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::ranges::shuffle(history, random);
    for (const int64_t length : history) lengths.add(length);
  }
  for (const int64_t age : {0, 5, 50, 300})
    for (const int64_t most : {20, 200, 5000}) {
      double left = 0;
      int64_t num_left = 0;
      for (const int64_t length : history) {
        if (length <= age) continue;
        left += static_cast<double>(std::min(length - age, most));
        ++num_left;
      }
      EXPECT_NEAR(lengths.expected_left(age, most) / (left / static_cast<double>(num_left)), 1, 0.07)
          << age << ' ' << most;
    }
}

TEST(OutputLengths, MayBeReadWhileItLearns) {
  OutputLengths lengths;
  std::jthread reader([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const double seconds = lengths.index_seconds(work(0.01));
      EXPECT_TRUE(std::isfinite(seconds) && seconds > 0);
    }
  });
  learn(lengths, 100, 20'000);
}

}  // namespace
}  // namespace pagoda
