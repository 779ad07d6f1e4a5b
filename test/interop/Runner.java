import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.igniterealtime.smack.inttest.Configuration;
import org.igniterealtime.smack.inttest.FailedTest;
import org.igniterealtime.smack.inttest.SmackIntegrationTestFramework;
import org.igniterealtime.smack.inttest.SmackIntegrationTestFramework.TestRunResult;
import org.igniterealtime.smack.inttest.XmppConnectionDescriptor;
import org.igniterealtime.smack.inttest.XmppConnectionManager;
import org.jivesoftware.smack.c2s.ModularXmppClientToServerConnection;
import org.jivesoftware.smack.c2s.ModularXmppClientToServerConnectionConfiguration;
import org.jivesoftware.smack.compression.CompressionModuleDescriptor;
import org.jivesoftware.smack.tcp.XMPPTCPConnection;
import org.jivesoftware.smack.tcp.XMPPTCPConnectionConfiguration;
import org.jivesoftware.smackx.bytestreams.socks5.Socks5Proxy;

/**
 * Runs Smack's integration tests (its own options are the system properties `sinttest.*`) against a server on any port, and
 * writes a line for each test: outcome, name, milliseconds, what was wrong; between tabs.
 */
public class Runner {
    public static void main(String[] args) throws Exception {
        connectTo(Integer.parseInt(args[0]));
        // Files go directly from client to client, over loopback, whatever addresses this machine has.
        Socks5Proxy.getSocks5Proxy().replaceLocalAddresses(List.of(InetAddress.getLoopbackAddress()));
        TestRunResult result = new SmackIntegrationTestFramework(Configuration.newConfiguration(new String[0])).run();
        try (PrintStream out = new PrintStream(Files.newOutputStream(Path.of(args[1])), false, StandardCharsets.UTF_8)) {
            result.getSuccessfulTests().forEach(test -> line(out, "passed", test.concreteTest, test.duration, ""));
            for (FailedTest test : result.getFailedTests()) {
                line(out, "failed", test.concreteTest, test.duration, String.valueOf(test.failureReason));
            }
            result.getNotPossibleTests().forEach(test -> line(out, "impossible", test.concreteTest, test.duration,
                    String.valueOf(test.testNotPossibleException.getMessage())));
            result.getImpossibleTestClasses().forEach((type, reason) -> line(out, "impossible", type.getSimpleName(), 0,
                    String.valueOf(reason.getMessage())));
        }
        System.exit(0);
    }

    /** The framework knows the standard port only: its kinds of connection are declared again, with this one. */
    private static void connectTo(int port) throws Exception {
        XmppConnectionManager.addConnectionDescriptor(XmppConnectionDescriptor
                .buildWith(XMPPTCPConnection.class, XMPPTCPConnectionConfiguration.class, XMPPTCPConnectionConfiguration.Builder.class)
                .withNickname("tcp").applyExtraConfiguration(builder -> builder.setPort(port)).build());
        XmppConnectionManager.addConnectionDescriptor(XmppConnectionDescriptor
                .buildWith(ModularXmppClientToServerConnection.class, ModularXmppClientToServerConnectionConfiguration.class,
                        ModularXmppClientToServerConnectionConfiguration.Builder.class)
                .withNickname("modular").applyExtraConfiguration(builder -> builder.setPort(port)).build());
        XmppConnectionManager.addConnectionDescriptor(XmppConnectionDescriptor
                .buildWith(ModularXmppClientToServerConnection.class, ModularXmppClientToServerConnectionConfiguration.class,
                        ModularXmppClientToServerConnectionConfiguration.Builder.class)
                .withNickname("modular-nocompress")
                .applyExtraConfiguration(builder -> {
                    builder.removeModule(CompressionModuleDescriptor.class);
                    builder.setPort(port);
                }).build());
        for (String websocket : List.of("modular-websocket-okhttp", "modular-websocket-java11")) {
            XmppConnectionManager.removeConnectionDescriptor(websocket);
        }
    }

    private static void line(PrintStream out, String outcome, Object test, long took, String reason) {
        out.println(String.join("\t", outcome, test.toString(), String.valueOf(took), reason.replaceAll("\\s+", " ").strip()));
    }
}
