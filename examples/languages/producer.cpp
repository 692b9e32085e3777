// A producer in C++ that sends with the program curl: c++ -std=c++17 -O2 producer.cpp -o producer && ./producer [URL] [STEPS]
//
// Each batch has a number and is sent again with the same number until curl says that it was stored, so that it is stored once.
// A thread of your own can call flush() while another computes. Open the page `runs` to watch.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>

class Producer {
public:
    Producer(std::string url, std::string run, const std::string& app, const std::string& config)
        : api_(std::move(url) + "/api/v1"), run_(std::move(run)) {
        post("/runs", R"({"app": ")" + app + R"(", "run": ")" + run_ + R"(", "config": )" + config + "}");
    }

    // One row of a key. `data` is a JSON object of columns and numbers.
    void row(long step, const std::string& key, const std::string& data) {
        records_ += (records_.empty() ? "" : ",") + std::string(R"({"kind": "rows", "step": )") + std::to_string(step)
            + R"(, "time": )" + std::to_string(now_s()) + R"(, "key": ")" + key + R"(", "data": )" + data + "}";
    }

    void flush() {
        if (records_.empty()) return;
        post("/runs/" + run_ + "/batches",
             R"({"producer": "cpp", "number": )" + std::to_string(++number_) + R"(, "records": [)" + records_ + "]}");
        records_.clear();
    }

    void finish() {
        flush();
        post("/runs/" + run_ + "/finish", R"({"state": "finished"})");
    }

private:
    static double now_s() {
        return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    }

    // curl tries again itself while the endpoint is away or busy. The token is read by the shell, and the body from stdin: neither
    // is seen in the list of processes.
    void post(const std::string& path, const std::string& body) {
        const std::string command = "curl -sSf --retry 20 --retry-delay 1 --retry-connrefused -o /dev/null -H 'Content-Type: application/json' "
            "--data-binary @- ${STREAMVIS_TOKEN:+-H \"Authorization: Bearer $STREAMVIS_TOKEN\"} '" + api_ + path + "'";
        FILE* curl = popen(command.c_str(), "w");
        if (curl == nullptr || fwrite(body.data(), 1, body.size(), curl) != body.size() || pclose(curl) != 0)
            throw std::runtime_error("the endpoint did not take what was sent to " + path);
    }

    std::string api_, run_, records_;
    long number_ = 0;
};

int main(int count, char** words) {
    const std::string url = count > 1 ? words[1] : "http://localhost:8080";
    const long steps = count > 2 ? std::atol(words[2]) : 200;
    const std::string run = "cpp-" + std::to_string(std::chrono::system_clock::now().time_since_epoch().count()) + "-" + std::to_string(getpid());
    try {
        Producer producer(url, run, "cpp", R"({"language": "C++"})");
        for (long step = 0; step < steps; ++step) {
            std::ostringstream data;
            data.precision(17);
            data << R"({"loss": )" << std::exp(-step / 50.0) << R"(, "wave": )" << std::sin(step / 10.0) << "}";
            producer.row(step, "train", data.str());
            if (step % 50 == 49) producer.flush();
        }
        producer.finish();
        std::cout << "The run " << run << " has " << steps << " rows.\n";
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
