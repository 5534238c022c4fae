package server;

import org.eclipse.hawkbit.autoconfigure.security.EnableHawkbitManagedSecurityConfiguration;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** hawkBit with its own configuration, and nothing of ours. */
@SpringBootApplication
@EnableHawkbitManagedSecurityConfiguration
public class UpdateServer {
    public static void main(String[] arguments) {
        SpringApplication.run(UpdateServer.class, arguments);
    }
}
